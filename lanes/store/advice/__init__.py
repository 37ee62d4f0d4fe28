"""The evidence for advice on a workload."""
