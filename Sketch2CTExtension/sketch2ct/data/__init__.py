"""Data sets in nnU-Net layout, what is derived from a CT, and the caches that training reads."""
