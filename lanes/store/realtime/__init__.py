"""Outages of the provider, and work that is given up."""
