"""The snapshot that every face of the report shows."""
