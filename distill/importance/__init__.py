"""How much a trained detector needs each unit, residual block and layer of its stacks: one file a method."""
