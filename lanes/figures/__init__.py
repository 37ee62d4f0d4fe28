"""Facts folded into minutes, hours and days: the one source of what is measured over time."""
