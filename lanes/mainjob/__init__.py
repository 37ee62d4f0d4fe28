"""What `make run` sends and prints."""
