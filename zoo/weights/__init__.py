"""Checkpoints: ours, official ones and foreign files, read without executing them; licences."""
