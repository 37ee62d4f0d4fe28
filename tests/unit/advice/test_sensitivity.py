"""What the advice would be if the volume, the discount or the model were another."""

from dataclasses import replace

import pytest

from lanes.advice.evidence import ConsumerUse, Evidence, LimitUse, ModelPrice, Pattern
from lanes.advice.plans import Sensitivity
from lanes.advice.recommendation import advise
from lanes.words import Mode
from tests.unit.advice.test_advice import evidence


def cases(seen: Evidence, items: float = 304_000) -> dict[str, Sensitivity]:
    return {each.case: each for each in advise(seen, items_per_month=items).sensitivities}


def test_each_change_is_made_by_itself() -> None:
    models = [ModelPrice("dear", 20, 20), ModelPrice("cheap", 0.5, 0.1)]
    found = cases(evidence(models=models))
    assert list(found) == [
        "twice the volume",
        "a batch discount of 0 %",
        "a batch discount of 25 %",
        "dear on both lanes",
        "cheap on both lanes",
    ]
    assert found["twice the volume"].plan.provider_usd == pytest.approx(608_000 * 0.01 * 0.55)
    assert found["a batch discount of 25 %"].plan.provider_usd == pytest.approx(
        3_040 * (1 - 0.9 * 0.25)
    )
    assert (
        found["a batch discount of 0 %"].plan.pattern is Pattern.REALTIME
    )  # the lane would be paid for nothing
    assert found["dear on both lanes"].plan.provider_usd == pytest.approx(20 * 3_040 * 0.55)
    assert found["cheap on both lanes"].plan.provider_usd == pytest.approx(
        304_000 * (0.1 * 0.005 + 0.9 * 0.0005)
    )


def test_twice_the_volume_can_change_the_recommendation() -> None:
    assert advise(evidence(), items_per_month=60_000).pattern is Pattern.REALTIME
    assert cases(evidence(), items=60_000)["twice the volume"].plan.pattern is Pattern.HYBRID


def test_a_volume_beyond_the_limits_is_told() -> None:
    assert cases(evidence())["twice the volume"].note == "no limit of the provider is known"
    limited = evidence(peak_per_minute=40, limits=(LimitUse("requests", 50, 50, 1.0, 1.0),))
    assert (
        "160 % of 50 requests a minute: more than there is"
        in cases(limited)["twice the volume"].note
    )


def test_what_hangs_on_unrecorded_reads_is_inconclusive() -> None:
    """Of a cheaper model batch saves 506 dollars of the 90 % that may wait, and 394 of 70 %; its lane takes 450."""
    unread = [ConsumerUse("desk", 800, demanded=100, deferred=700), ConsumerUse("new", 200)]
    found = cases(evidence(*unread, models=[ModelPrice("cheaper", 0.37, 0.37)]))
    assert {case: each.holds for case, each in found.items() if "discount" not in case} == {
        "twice the volume": True,
        "cheaper on both lanes": False,
    }


def test_without_a_recommendation_nothing_is_told() -> None:
    half = evidence(
        ConsumerUse("desk", 500, demanded=500),
        ConsumerUse("new", 500),
        models=[ModelPrice("cheap", 0.01, 0.01)],
    )
    assert advise(half, items_per_month=304_000).sensitivities == ()
    assert advise(Evidence("letters", Mode.PLAIN, days=0, items=0)).sensitivities == ()
    assert advise(replace(evidence(), consumers=())).sensitivities == ()
