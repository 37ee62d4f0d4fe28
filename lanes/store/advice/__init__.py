"""The evidence for an advice."""
