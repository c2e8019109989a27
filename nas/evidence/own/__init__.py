"""Evidence of our own (``--train``): sample architectures of equal latency, train them, write them as a folder."""
