"""Deployment files: one file a format in ``formats/``, and the measured gap to torch.

``write.export`` writes a detector. A new format is one file in ``formats/`` and one line in ``formats.FORMATS``.
"""
