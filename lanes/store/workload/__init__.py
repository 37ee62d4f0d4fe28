"""Workloads, their versions, candidates and golden sets, and the accounts that serve them."""
