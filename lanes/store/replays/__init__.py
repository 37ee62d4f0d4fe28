"""Generations, their differences, their promotion."""
