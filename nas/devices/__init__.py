"""Latency on a device: profiles (``devices/*.yaml``), the model over Graphs, and how to fit one."""
