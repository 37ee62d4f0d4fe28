"""What a call costs, whose share of a bill is what, and what may be spent."""
