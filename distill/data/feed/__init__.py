"""From images on disk to batches: augmentation, cache, loader and data workers."""
