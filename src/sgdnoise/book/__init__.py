"""Builds the pages: their scripts, their renderer, and the gate that a build has to pass."""
