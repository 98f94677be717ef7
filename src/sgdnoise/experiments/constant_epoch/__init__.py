"""Constant epoch: its grid and its findings."""
