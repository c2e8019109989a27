"""What may exist: architectures, the graphs they lower to, block kinds and search spaces. No torch here."""
