"""Queries of figures, and of due times and promises, which they measure."""
