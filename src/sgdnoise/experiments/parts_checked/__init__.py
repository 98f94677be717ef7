"""Parts checked: its grid and its findings."""
