"""The atlas: every trained detector we know, as entries (one network under one training recipe) with their graphs."""
