"""WHEN: one file per deployment."""

from lanes.text import make_logs_visible

make_logs_visible()  # before any run logs what an item or the provider said
