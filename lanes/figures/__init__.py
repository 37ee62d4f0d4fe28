"""Facts folded into minutes, hours and days: the one source of everything measured over time."""
