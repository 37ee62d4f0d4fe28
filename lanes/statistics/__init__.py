"""Bounds and tests that hold however often one looks: shares, quantiles, means, and two lanes against each other."""
