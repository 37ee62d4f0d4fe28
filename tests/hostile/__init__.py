"""Answers of a broken or hostile provider, for tests and for `make fuzz`."""
