"""The Python API: one function a command, with the command's names and defaults, used as ``nas.search`` and so on.

Functions return results that print as text, show a table in a notebook, and turn into plain data (``to_dict``) or a
table (``to_table``).
"""
