"""Brief training of a search's front (``nas search --then``): candidates are selected, trained by successive halving,
and compared with stock models."""
