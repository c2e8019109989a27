"""A disk cache of teacher outputs, so that each view of an image is computed once."""
