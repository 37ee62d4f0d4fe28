"""The real-time lane: the scheduler, the buffer, the limiters, circuits, and the rules for drains."""
