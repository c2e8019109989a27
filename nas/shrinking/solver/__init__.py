"""One state per variable, the greatest value under cost limits, with a proved bound.

``problem`` states a problem, ``solve`` solves it and ``reach`` tells the least and greatest cost that can be reached.
The others are the parts: ``network`` (tables over nodes), ``order``, ``plan`` and ``elimination`` (max-sum and
max-marginals), ``dual`` (cost multipliers), ``moves`` (local improvement), ``branch`` (branch and bound).
"""
