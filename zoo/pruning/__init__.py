"""Structured pruning: which channels belong together, cutting a network, and its size as a function of its widths."""
