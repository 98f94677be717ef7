"""What the papers print, each number with its place."""
