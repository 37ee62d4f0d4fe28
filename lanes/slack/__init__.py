"""Tells people in Slack: one message per incident, edited in place."""
