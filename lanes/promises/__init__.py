"""Promises about workloads, their breaches, and the messages about them."""
