"""From a zero-shot shortlist to trained detectors: ``nas search ... --then train`` or ``--then distill``."""
