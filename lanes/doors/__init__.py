"""Inputs, files, keys and refusals."""
