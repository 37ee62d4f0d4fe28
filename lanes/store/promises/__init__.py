"""Incidents, what they mean for people, and what Slack was told."""
