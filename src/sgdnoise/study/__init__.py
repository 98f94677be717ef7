"""What an experiment is, and what is missing of it."""
