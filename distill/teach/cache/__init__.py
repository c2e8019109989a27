"""Teacher outputs kept on disk, so that a view of an image is computed once."""
