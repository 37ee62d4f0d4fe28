"""The explanation of a hold: the cause that holds work, since when, and what ends it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from lanes.money.budget import Budget, BudgetStatus, Period
from lanes.realtime.circuit import Circuit, CircuitState
from lanes.realtime.limiter import CallWait, WaitReason
from lanes.routing.capacity import Limit, LimitKind
from lanes.settling.holds import Holds, explain_hold
from lanes.words import Lane
from tests.conftest import NOON, later

HOUR = timedelta(hours=1)
SINCE = NOON - HOUR
MODEL = "claude-haiku-5-5"
BUDGET = Budget("letters", None, Period.DAY, "UTC", None, Decimal(1))
SPENT = BudgetStatus(
    BUDGET, SINCE, NOON + HOUR, Decimal(1), Decimal(0), Decimal(0), refused_at=SINCE
)
WELL_PAID = BudgetStatus(BUDGET, SINCE, NOON + HOUR, Decimal(0), Decimal(0), Decimal(0))
DOWN = Circuit(1, CircuitState.RESTING, SINCE, NOON, 7, "529 overloaded", later(seconds=4))
KEY = {
    "promise": "provider_frozen",
    "workload": "letters",
    "why": "invalid x-api-key",
    "opened_at": SINCE,
}
UNCLEAR = {
    "promise": "batch_unclear",
    "subject": "batch 41",
    "why": "two batches fit",
    "opened_at": SINCE,
}
REACHED = Limit(LimitKind.REQUESTS, 50, 0, later(seconds=60), NOON)
BATCH: dict[str, Any] = {
    "id": 41,
    "state": "submitted",
    "intended_at": SINCE,
    "create_ended_at": None,
    "submitted_at": SINCE,
    "note": None,
    "expected_end_at": NOON + HOUR,
    "ended_at": None,
}
PRIMER = {**BATCH, "version_id": 1, "stated_back_at": NOON + HOUR}


def work(lane: Lane = Lane.REALTIME, **fields: Any) -> dict[str, Any]:
    ready = {
        "state": "ready",
        "workload": "letters",
        "model": MODEL,
        "lane": lane,
        "failures": 0,
        "batch_id": None,
    }
    return {**ready, "urgent": False, "ready_at": SINCE, **fields}


def batched(**fields: Any) -> Holds:
    return Holds(batches={41: {**BATCH, **fields}})


READY, BATCHED = work(), work(Lane.BATCH)
OUT = work(Lane.BATCH, state="submitted", batch_id=41)
CASES: list[tuple[dict[str, Any], Holds, list[str]]] = [
    (READY, Holds(paused_at=SINCE), ["paused since 11:00 UTC", "`lanes resume letters`"]),
    (
        READY,
        Holds(incidents=[{**KEY, "subject": "acme"}]),
        ["since 11:00 UTC", "invalid x-api-key", "`lanes up`"],
    ),
    (
        BATCHED,
        Holds(incidents=[{**KEY, "subject": "acme"}]),
        ["since 11:00 UTC", "invalid x-api-key", "`lanes doctor`"],
    ),
    (
        READY,
        Holds(incidents=[{**KEY, "subject": f"model {MODEL}"}]),
        ["since 11:00 UTC", "invalid x-api-key"],
    ),
    (
        READY,
        Holds(budgets=[WELL_PAID, SPENT]),
        ["waits for money", "since 11:00 UTC", "`lanes budget letters`", "13:00 UTC"],
    ),
    (
        READY,
        Holds(circuits={MODEL: ("acme", DOWN)}),
        [MODEL, "since 11:00 UTC", "529 overloaded", "in 4", "is answered"],
    ),
    (
        work(ready_at=NOON + HOUR, failures=2),
        Holds(),
        ["rests after 2 failures until 13:00 UTC", "automatically"],
    ),
    (
        READY,
        Holds(limits={MODEL: [REACHED]}),
        ["50 requests a minute", "since 12:00 UTC", "12:01 UTC at the latest"],
    ),
    (
        BATCHED,
        Holds(departs_at=NOON + HOUR),
        ["off-peak window since 11:00 UTC", "13:00 UTC", "`lanes depart letters`"],
    ),
    (
        {**BATCHED, "version_id": 1},
        Holds(primer=PRIMER, departs_at=NOON + HOUR),
        ["waits for batch 41", "primes the provider's cache", "13:00 UTC at the latest"],
    ),
    (OUT, batched(), ["batch 41", "since 11:00 UTC", "expected at 13:00 UTC"]),
    (OUT, batched(expected_end_at=SINCE), ["it is late"]),
    (
        OUT,
        Holds(batches={41: BATCH}, incidents=[{**UNCLEAR, "promise": "batch_slow"}]),
        ["expected at 13:00 UTC", "it is late"],
    ),
    (
        OUT,
        batched(state="intended", create_ended_at=SINCE),
        ["no answer since 11:00 UTC", "`collect`"],
    ),
    (OUT, batched(state="ended", ended_at=SINCE), ["ended at 11:00 UTC", "`collect`"]),
    (
        OUT,
        batched(state="held", note="two fit"),
        ["held since 11:00 UTC", "two fit", "`lanes adopt`", "`lanes give-up 41`"],
    ),
    (
        OUT,
        Holds(batches={41: BATCH}, incidents=[UNCLEAR]),
        ["held since 11:00 UTC", "two batches fit", "`lanes batches`"],
    ),
]


@pytest.mark.parametrize("state", ["ready", "claimed"])
def test_work_that_only_waits_for_its_turn_shows_the_wait_reason_of_the_drains(state: str) -> None:
    waits = [CallWait("letters", WaitReason.SHARE, 12), CallWait("letters", WaitReason.PLACES, 1)]
    told = explain_hold(work(state=state), Holds(waits=waits), NOON) or ""
    assert told.startswith("waits for its turn among 12 calls of its workload")
    assert WaitReason.SHARE.explanation in told
    assert explain_hold(BATCHED, Holds(waits=waits), NOON) is None


@pytest.mark.parametrize(("of", "by", "said"), CASES)
def test_a_hold_is_explained_with_its_cause_its_start_and_its_end(
    of: dict[str, Any], by: Holds, said: list[str]
) -> None:
    told = explain_hold(of, by, NOON)
    assert told is not None
    for each in said:
        assert each in told


FREE: list[tuple[dict[str, Any], Holds]] = [
    (READY, Holds()),
    (READY, Holds(budgets=[WELL_PAID], departs_at=NOON + HOUR)),
    (READY, Holds(circuits={"claude-opus-5-5": ("acme", DOWN)})),
    (BATCHED, Holds(circuits={MODEL: ("acme", DOWN)}, limits={MODEL: [REACHED]})),
    (READY, Holds(incidents=[{**KEY, "subject": "model claude-opus-5-5"}])),
    (READY, Holds(limits={MODEL: [Limit(LimitKind.REQUESTS, 50, 40, later(seconds=30), NOON)]})),
    (BATCHED, Holds(departs_at=later(seconds=30))),
    ({**BATCHED, "version_id": 2}, Holds(primer=PRIMER)),
    ({**READY, "version_id": 1}, Holds(primer=PRIMER)),
    (work(state="claimed"), Holds(paused_at=SINCE)),
]


@pytest.mark.parametrize(("of", "by"), FREE)
def test_a_cause_for_another_model_lane_or_state_does_not_hold_the_work(
    of: dict[str, Any], by: Holds
) -> None:
    assert explain_hold(of, by, NOON) is None


def test_among_several_causes_the_one_that_a_person_must_end_is_shown() -> None:
    by = Holds(
        paused_at=SINCE,
        budgets=[SPENT],
        circuits={MODEL: ("acme", DOWN)},
        incidents=[{**KEY, "subject": "acme"}],
    )
    assert "paused" in (explain_hold(READY, by, NOON) or "")
    assert "refused calls" in (
        explain_hold(READY, Holds(incidents=by.incidents, circuits=by.circuits), NOON) or ""
    )


def test_an_urgent_item_is_not_held_by_the_reserve_that_is_kept_for_it() -> None:
    by = Holds(limits={MODEL: [Limit(LimitKind.REQUESTS, 50, 8, later(seconds=60), NOON)]})
    assert explain_hold(READY, by, NOON) is not None
    assert explain_hold(work(urgent=True), by, NOON) is None
