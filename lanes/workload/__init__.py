"""Workloads and versions: instructions, schemas, models and prices, rules, windows, promises; definition files and changes."""
