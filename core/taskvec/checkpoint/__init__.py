"""A model on disk, or on the hub: found, read and checked by name and shape, and fingerprinted. Knows no inference."""
