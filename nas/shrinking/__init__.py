"""A trained detector cut to a budget (``nas shrink``)."""
