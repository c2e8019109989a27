"""One module a command: ``HELP``, ``add_arguments(parser)`` and ``run(args) -> exit code``.

Modules import only the standard library until ``run``. Options that several commands share are in ``options``.
"""
