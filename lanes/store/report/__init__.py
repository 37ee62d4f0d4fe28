"""The figures of the report, read as one snapshot that all output formats share."""
