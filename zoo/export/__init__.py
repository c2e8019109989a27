"""Deployment files: one module a format, and the measured gap to torch."""
