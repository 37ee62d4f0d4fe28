"""Bounds and tests that hold however often one looks: shares, means, and two lanes against each other."""
