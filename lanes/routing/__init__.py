"""Which lane an item takes, with which reason, at which cost; the split; the forecast of a file."""
