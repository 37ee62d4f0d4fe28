"""Batches from the intent to the last result."""
