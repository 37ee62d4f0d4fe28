"""The batch lane: departure, records, reconcile, patience."""
