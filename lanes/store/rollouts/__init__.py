"""Rollouts, their moves, their measurements, what hinders them."""
