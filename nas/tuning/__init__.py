"""Searching for settings of training: what may vary, the study, and who trains the trials."""
