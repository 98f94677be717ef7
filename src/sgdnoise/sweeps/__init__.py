"""Sweeps: train what is missing, append one record a run."""
