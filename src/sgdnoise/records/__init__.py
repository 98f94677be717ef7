"""One record a run, what it was made with, and the store that keeps them."""
