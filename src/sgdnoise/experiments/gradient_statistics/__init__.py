"""What batch size does to gradients, steps and losses: G20 section 2."""
