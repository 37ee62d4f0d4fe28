"""The sweep of `collect`: duties for work that nothing else moves on, and the waker of drains."""
