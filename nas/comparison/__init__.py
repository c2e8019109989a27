"""Candidates and trained detectors beside the zoo's, on one page: the room of ``nas compare``.

``gather`` makes a ``Comparison`` of rows, which ``sources`` reads from runs, checkpoints, models and files. ``fronts``
finds the Pareto fronts and ``sentences`` describes them. ``page``, ``markdown`` and ``plot`` are what ``write`` writes.
"""
