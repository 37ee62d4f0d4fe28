"""Calls that cannot be weighed: their cost is recorded, and every call that ended with them has its consequence."""

from typing import Any

import pytest
from sqlalchemy import text

from anthropic_standin.testing import Endpoint
from lanes.words import Lane, Outcome
from tasks import weighing
from tasks.connections import Connections
from tests.flows.conftest import Sender
from tests.flows.realtime import a_state, answer


def broken(key: str) -> Any:
    """Return a step that fails for the item with that key."""

    def breaks(version: Any, called: Any, failure: Any) -> Any:
        if any(each.key == key for each in called.pack):
            raise RuntimeError("not foreseen")
        return failed(version, called, failure)

    failed = weighing.describe_failure
    return breaks


async def test_an_answer_is_saved_even_if_learning_from_its_call_fails(
    at: Connections, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("not foreseen")

    await sender.items("a", "b", "c", lane=Lane.REALTIME)
    state = a_state()
    monkeypatch.setattr(state.places, "record_answer", breaks)
    assert await answer(at, state) == {Outcome.VALID: 3}
    assert set((await sender.states()).values()) == {"settled"}
    assert await sender.rows("select count(*) from lanes.spend") == [(3,)]


async def test_an_answer_that_cannot_be_judged_is_billed_and_its_neighbours_are_saved(
    at: Connections, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = weighing.attempts.build_answered

    def breaks(version: Any, pack: Any, *more: Any, **named: Any) -> Any:
        if pack[0].key == "b":
            raise RuntimeError("not foreseen")
        return answered(version, pack, *more, **named)

    monkeypatch.setattr(weighing.attempts, "build_answered", breaks)
    await sender.items("a", "b", "c", lane=Lane.REALTIME)
    assert await answer(at) == {Outcome.VALID: 2, Outcome.INVALID: 1}
    assert await sender.rows(
        "select key, error from lanes.attempt_log where outcome = 'invalid'"
    ) == [("b", "its call cannot be weighed: RuntimeError")]
    assert await sender.rows("select count(*) from lanes.spend") == [(3,)]


async def test_a_failure_that_cannot_be_weighed_is_an_attempt_with_a_bound_and_harms_no_neighbour(
    at: Connections, endpoint: Endpoint, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.fault("messages", "drop", match="letter b", times=1)
    monkeypatch.setattr(weighing, "describe_failure", broken("b"))
    await sender.items("a", "b", "c", lane=Lane.REALTIME)
    assert await answer(at) == {Outcome.VALID: 2, Outcome.UNKNOWN: 1}
    bounded = "select bound_usd > 0 from lanes.attempt where outcome = 'unknown'"
    assert await at.db.run(lambda c: c.execute(text(bounded)).scalars().all()) == [True]
