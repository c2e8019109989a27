"""Several processes that train one detector on parts of the same batch."""
