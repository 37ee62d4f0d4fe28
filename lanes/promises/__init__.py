"""What is promised of a workload, what breaks it, and what people are told of the breach."""
