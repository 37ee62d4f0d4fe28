"""Replays and their generations: reading the stream again, comparison and promotion."""
