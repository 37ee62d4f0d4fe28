"""Routing: the lane of an item with its reason and cost, the split, changes of lane, and forecasts of files."""
