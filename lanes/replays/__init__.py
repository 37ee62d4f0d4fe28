"""Generations of answers: replay, difference, promotion."""
