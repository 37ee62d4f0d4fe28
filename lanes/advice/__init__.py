"""Advice on the pattern that suits a workload: evidence, criteria, break-even, recommendation, savings."""
