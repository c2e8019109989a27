"""Profiles fitted to measurements, and their errors on measurements that they were not fitted to."""
