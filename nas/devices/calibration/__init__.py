"""A latency profile of this machine: measure a designed set of networks, fit, and check on held-out ones."""
