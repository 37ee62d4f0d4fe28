"""WHEN: one file per deployment."""

from lanes.text import make_logs_visible

make_logs_visible()  # must run before any run logs text of an item or the provider
