"""How well scores rank detectors that were really trained: the evidence behind ``nas bench-scores``.

``trained`` reads a folder of trained detectors, ``published`` takes the zoo's. ``columns`` evaluates scores at every
point (``forward_jobs`` runs the network for those that need it, ``refit`` refits fitted scores without a family).
``statistics`` holds tau, regret, noise ceiling and confidence intervals. ``benchmark`` puts them together. ``own``
trains detectors of our own for it.
"""
