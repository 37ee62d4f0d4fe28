"""WHEN: one file per deployment."""
