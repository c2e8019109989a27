"""One search from a problem to its run folder: driver, front, products, measured finalists."""
