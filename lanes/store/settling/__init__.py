"""Results and outcomes of items, as they are written, listed and read."""
