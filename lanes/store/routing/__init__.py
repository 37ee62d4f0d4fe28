"""Routes, lane changes, observed turnarounds and stored traffic."""
