"""Checks of data sets: findings, the doctor that explains them, and repair."""
