"""What scores are worth, held against detectors that were really trained: reading, ranking, judging.

``rank`` orders, ``read`` brings a folder of trained detectors, ``judge`` puts scores on trial, ``train`` makes such a folder of our own.
"""
