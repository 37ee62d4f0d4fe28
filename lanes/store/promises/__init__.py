"""Incidents, their briefings for people, and their messages in Slack."""
