"""Results and what became of items, as they are written, listed and read."""
