"""Which detector to choose: search, rulers, reports and the ``nas`` command."""

__version__ = "0.1.0"
