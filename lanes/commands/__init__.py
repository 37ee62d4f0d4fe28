"""The commands of `lanes`, one file per subject."""
