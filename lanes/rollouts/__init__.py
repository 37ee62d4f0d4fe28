"""Playbooks, their gates, and the rollouts that execute them."""
