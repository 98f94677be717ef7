"""Unlimited epochs: its grid and its findings."""
