"""Routes, splits, and what moves to the other lane."""
