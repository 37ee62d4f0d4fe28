"""Fourteen simulated days of items with due times: the world, the contenders that decide in it, and the results."""
