"""Hypothesis as the unit tests use it: as many examples as a quick run affords, and no clock of its own."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "unit",
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("unit")
