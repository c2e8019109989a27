"""Search of training settings (``nas tune``): the ranges that vary, the study of trials, the pruner, the result."""
