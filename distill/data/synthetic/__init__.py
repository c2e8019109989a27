"""Synthetic data sets, the same for the same seed."""
