"""Circuits and outages of the provider, the load of the real-time lane, and claims of paid or hopeless work."""
