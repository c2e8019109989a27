"""Exported files checked on a data set, and repaired where FP16 breaks a layer."""
