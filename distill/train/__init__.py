"""The training loop, its recipe, evaluation and data-parallel processes."""
