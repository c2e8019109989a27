"""Measured latencies from disk: networks with their graphs, or tables of single convolutions."""
