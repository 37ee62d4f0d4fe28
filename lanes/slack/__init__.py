"""Notifications in Slack: one message per incident, edited in place."""
