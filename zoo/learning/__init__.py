"""What training asks of a detector: targets, label assignment and losses."""
