"""Costs, prices and budgets: estimates, bounds, shares of a bill, and spending limits."""
