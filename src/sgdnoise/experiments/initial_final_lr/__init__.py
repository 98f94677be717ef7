"""Initial final lr: its grid and its findings."""
