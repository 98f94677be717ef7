"""Generalization gap: its grid and its findings."""
