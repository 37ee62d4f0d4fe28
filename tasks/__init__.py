"""WHAT is retried, timed and logged: load, decide, save."""
