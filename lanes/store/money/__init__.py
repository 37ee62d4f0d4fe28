"""The ledger, budgets, reserves, overheads, and the sharing of calls."""
