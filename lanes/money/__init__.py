"""What a call costs, and whose share of a bill is what."""
