"""A playbook, its gates, and the rollout that carries it out."""
