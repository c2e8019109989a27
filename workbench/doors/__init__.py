"""How foreign files come in: one module a format, used by every reader.

A door opens regular files only, reads no more than a stated number of bytes, limits how deep and how long data is, and
raises ``BadInput`` with one line for whatever breaks a rule.
"""
