"""The ledger, budgets, reserves, overheads, and how calls share."""
