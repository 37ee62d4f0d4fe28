"""WHEN: one file per deployment."""

from lanes.escaping import make_logs_visible

make_logs_visible()  # before any run logs what an item or the provider said
