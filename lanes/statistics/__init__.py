"""Bounds and tests that hold under continuous looking: shares, means, and comparisons of two lanes."""
