"""The real-time lane: shares, buffer, pace, warmth, health."""
