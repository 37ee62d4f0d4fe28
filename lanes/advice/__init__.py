"""Which lane a workload belongs on: evidence, criteria, break-even, recommendation."""
