"""The parts of ``zoo.weights.inherit``: pairs of tensors, maps of channels, values, and the report."""
