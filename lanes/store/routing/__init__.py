"""Routes, changes of lane, observed turnarounds and stored traffic."""
