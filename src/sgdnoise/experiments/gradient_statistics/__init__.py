"""Gradient statistics: its grid, what its records measure, and its findings."""
