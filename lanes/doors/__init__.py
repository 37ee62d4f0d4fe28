"""The doors: inputs, files, keys and refusals."""
