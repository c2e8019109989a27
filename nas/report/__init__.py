"""What people look at: plots (PNG bytes), drawings in the terminal, and the views of TensorBoard.

One file per picture, all on ``canvas``. They take plain values and lie below the rooms whose results they show; a plot
of a room's own result types lives in that room (``nas.comparison.plot``, ``nas.evidence.plots``).
"""
