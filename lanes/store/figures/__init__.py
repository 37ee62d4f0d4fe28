"""Queries for figures, and for the due times and promises that they measure."""
