"""The first definition of a workload, guessed from rows."""
