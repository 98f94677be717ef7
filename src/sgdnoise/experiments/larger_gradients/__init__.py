"""Larger gradients: its grid and its findings."""
