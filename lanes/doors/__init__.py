"""What an input is, files, keys and refusals."""
