"""Detection data: readers, one class map, the doctor, a synthetic set, augmentation and the loader."""
