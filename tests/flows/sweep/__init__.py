"""Each person of the sweep, and that each of them stands alone."""
