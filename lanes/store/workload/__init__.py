"""Workloads, their versions and what holds them up."""
