"""Layerwise lr: its grid and its findings."""
