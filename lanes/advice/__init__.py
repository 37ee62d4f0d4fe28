"""Advice on the lane that a workload belongs on: evidence, criteria, break-even, recommendation."""
