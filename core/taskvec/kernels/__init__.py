"""Kernels of our own in C: compiled once for a user, checked against torch before they are used, and called from here."""
