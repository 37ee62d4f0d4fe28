"""Fourteen simulated days in which items are due: the world, who decides in it, and what became of it."""
