"""Search strategies, one file each, behind one ask-tell interface."""
