"""The random walk: its grid and its findings."""
