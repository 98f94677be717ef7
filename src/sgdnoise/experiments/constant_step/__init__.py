"""Constant step: its grid and its findings."""
