"""What a broken or hostile other side may say, for tests and for `make fuzz`."""
