"""`lanes explain`, `retry`, `cancel` and `forget`: the commands of an operator for single items."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from lanes.commands import items as commands
from lanes.doors.item import Amendment, Refusal
from lanes.routing.shedding import Shed
from lanes.routing.split import Split
from lanes.store.batch import collection
from lanes.store.database import clock
from lanes.store.doors import emptying, items
from lanes.store.routing import second_look
from lanes.store.settling import results
from lanes.store.workload import workloads
from lanes.words import Lane, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route, submission
from tests.store.tries import (
    A,
    B,
    claim,
    claimed_item,
    row,
    rows,
    said_somewhere,
    save,
    submit,
    tried,
)

SECRET = "Winterbourne"
Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def fates(pool: Engine, address: str) -> None:
    """Prepare a Lambda workload: one item corrected, one failed, one waiting for its batch, one only received."""
    with pool.begin() as connection:
        opens = clock(connection) + timedelta(hours=2)  # closed now: an open window holds no item
        window = {
            "off_peak_start": f"{opens:%H:%M}",
            "off_peak_end": f"{opens + timedelta(hours=1):%H:%M}",
        }
        letters = publish(connection, now=NOON, mode="lambda", max_failures=1, **window)
        admit(connection, "corrected", "poisoned", now=NOON, lane=Lane.REALTIME)
        route(connection, now=NOON)
        for each in claim(connection):
            outcome = Outcome.POISON if each.key == "poisoned" else Outcome.VALID
            save(connection, tried(each, outcome, A, at=later(seconds=1)), now=later(seconds=1))
        batch_id, works = submit(connection, letters, now=later(minutes=1))
        home = later(minutes=9)
        save(
            connection,
            *(tried(each, output=B, at=home) for each in works),
            batch_id=batch_id,
            now=home,
        )
        collection.mark_ended(connection, batch_id, at=home, now=home)
        admit(connection, "waiting", now=later(minutes=10), lane=Lane.BATCH)
        route(connection, now=later(minutes=10))
        admit(connection, "new", now=later(minutes=11))


def explained(told: Told, key: str) -> tuple[list[str], str]:
    assert commands.explain("letters", key, as_json=True) == 0
    said = json.loads(told.readouterr().out)
    return [each["what"] for each in said["happenings"]], said["next"]


def test_explain_lists_every_step_of_an_item_from_receipt_to_settlement(capsys: Told) -> None:
    what, then = explained(capsys, "corrected")
    assert what == [
        "received",
        "routed",
        "tried",
        "answered",
        "tried",
        "answered",
        "corrected",
        "settled",
    ]
    assert then == "Done"
    assert commands.explain("letters", "corrected") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith("letters / corrected: settled, $")
    assert "to realtime, pinned: " in shown
    assert "in batch 1 by" in shown


def test_explain_reports_a_fallback_to_batch_with_its_reason(pool: Engine, capsys: Told) -> None:
    with pool.begin() as connection:
        workloads.set_split(
            connection, Split("letters", None, 10_000), who="ada", why="test", now=NOON
        )
        fallen = claimed_item(connection, "fallen", lane=None, now=later(minutes=12))
        save(
            connection, tried(fallen, Outcome.INVALID, at=later(minutes=13)), now=later(minutes=13)
        )
        status = row(connection, "item_status", key="fallen")
    what, then = explained(capsys, "fallen")
    assert what == ["received", "routed", "tried", "handed over"]
    assert (status.state, status.lane) == ("routed", "batch")
    assert then.startswith("answer work on the batch lane has waited for the off-peak window")
    assert commands.explain("letters", "fallen") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert (
        "to batch, fallback: real time could not answer it: invalid (after 1 failed attempt)"
        in shown
    )


def test_explain_reports_a_shed_with_its_measured_reason(pool: Engine, capsys: Told) -> None:
    with pool.begin() as connection:
        workloads.set_split(
            connection, Split("letters", None, 10_000), who="ada", why="test", now=NOON
        )
        admit(connection, "free", now=later(minutes=12))
        route(connection, now=later(minutes=12))
        why = Shed("claude-haiku-5-5 has not answered since 12:10 UTC: 529: overloaded")
        leaving = {
            each.id: why
            for each in second_look.queue_tail(connection, ["letters"], now=NOON).waiting
        }
        assert second_look.shed(connection, leaving, now=later(minutes=13)) >= 1
    what, then = explained(capsys, "free")
    assert what == ["received", "routed", "shed"]
    assert then.startswith("answer work on the batch lane has waited for the off-peak window")
    assert commands.explain("letters", "free") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"to batch, shed: {why.why}; it may wait for a batch; about $" in shown


@pytest.mark.slow
def test_explain_names_the_next_step_of_an_item(pool: Engine, capsys: Told) -> None:
    assert "the router routes it" in explained(capsys, "new")[1]
    assert "has waited for the off-peak window since" in explained(capsys, "waiting")[1]
    assert explained(capsys, "poisoned")[1].endswith("lanes retry letters --key poisoned")
    with pool.begin() as connection:
        workloads.pause(connection, "letters", since=NOON)
    assert "its workload has been paused since" in explained(capsys, "waiting")[1]


def test_an_unknown_item_is_a_usage_error(capsys: Told) -> None:
    assert commands.explain("letters", "ghost") == 2
    assert 'has no item "ghost"' in capsys.readouterr().err
    assert commands.cancel("letters", "ghost") == 2
    assert commands.retry("ghosts", all=True) == 2
    assert commands.retry("letters") == 2


def test_a_failed_item_is_retried_with_the_version_in_force(pool: Engine, capsys: Told) -> None:
    with pool.begin() as connection:
        newer = publish(connection, now=later(minutes=20), mode="lambda", max_failures=2)
    assert commands.retry("letters", key=["poisoned", "corrected"], as_json=True) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["retried"], said["not_failed"]) == (["poisoned"], ["corrected"])
    with pool.begin() as connection:
        assert row(connection, "item_status", key="poisoned").state == "routed"
        now = clock(connection)  # the clock that the command used
        (again,) = claim(connection, now=now)
        assert (again.key, again.version_id, again.failures) == ("poisoned", newer.id, 0)
        save(connection, tried(again, output=A), now=now)
        assert row(connection, "item_status", key="poisoned").state == "answered"


def test_retrying_all_retries_every_failed_item_once(pool: Engine, capsys: Told) -> None:
    assert commands.retry("letters", all=True) == 0
    assert capsys.readouterr().out == "1 item will be tried again\n"
    assert commands.retry("letters", all=True) == 0
    assert capsys.readouterr().out == "0 items will be tried again\n"


def test_an_item_can_be_canceled_until_it_is_settled(pool: Engine, capsys: Told) -> None:
    assert commands.cancel("letters", "waiting") == 0
    assert commands.cancel("letters", "corrected") == 1
    assert "nothing was changed" in capsys.readouterr().err
    with pool.begin() as connection:
        assert row(connection, "item_status", key="waiting").state == "canceled"
        assert {each.state for each in rows(connection, "work") if each.lane == "batch"} == {
            "done",
            "canceled",
        }


@pytest.mark.slow
def test_forgetting_an_item_keeps_its_key_and_costs_and_erases_its_content(
    pool: Engine, capsys: Told
) -> None:
    with pool.begin() as connection:
        late = Amendment("letters", "corrected", {"text": f"late {SECRET}"})
        items.amend(connection, late, door="client", now=later(minutes=30))
        items.label(connection, "letters", {"corrected": {"note": SECRET}}, source="ada")
        connection.exec_driver_sql(f'update lanes.result set output = \'{{"note": "{SECRET}"}}\'')
        connection.exec_driver_sql(
            f"update lanes.item set entity = '{SECRET}' where key = 'corrected'"
        )
        spent = row(connection, "item_status", key="corrected").cost_usd
        assert said_somewhere(connection, SECRET) == {"item", "revision", "result", "label"}
    assert commands.forget("letters", "corrected") == 0
    assert commands.forget("letters", "ghost") == 2
    with pool.begin() as connection:
        assert said_somewhere(connection, SECRET) == set()
        kept = row(connection, "item_status", key="corrected")
        assert (kept.state, kept.cost_usd) == ("canceled", spent)
        assert results.current(connection, "letters", "corrected") is None
        assert {
            each.state for each in rows(connection, "work") if each.item_id == kept.item_id
        } <= {"done", "canceled"}


@pytest.mark.slow
def test_forgetting_a_key_also_erases_inputs_that_were_refused_under_it(
    pool: Engine, capsys: Told
) -> None:
    with pool.begin() as connection:
        conflict, late = (
            submission("new", payload={"text": SECRET}),
            Amendment("letters", "new", {"text": SECRET}, "event-2"),
        )
        items.admit(connection, [conflict, submission("new", lane=SECRET)], door="client", now=NOON)
        items.admit(connection, [replace(conflict, place="event-1")], door="event", now=NOON)
        items.refuse(
            connection,
            [Refusal("letters", "f:7", "malformed", SECRET, SECRET, "new")],
            door="f",
            now=NOON,
        )
        too_large = replace(late, payload={"text": SECRET * 100_000})
        assert (
            items.amend(connection, too_large, door="event", now=NOON).outcome
            == "payload_too_large"
        )
        items.amend(
            connection, Amendment("letters", "never", {"text": SECRET}), door="client", now=NOON
        )
        assert said_somewhere(connection, SECRET) == {"rejected", "amendment", "event_outbox"}
    assert commands.forget("letters", "new") == commands.forget("letters", "never") == 0
    with pool.begin() as connection:
        assert said_somewhere(connection, SECRET) == set()
        kept = len(rows(connection, "rejected_log"))
        items.admit(
            connection, [replace(conflict, place="event-1")], door="event", now=NOON
        )  # read again
        assert len(rows(connection, "rejected_log")) == kept == 5
        items.admit(connection, [conflict], door="client", now=NOON)  # sent again
        late = replace(late, place="event-3")
        assert items.amend(connection, late, door="event", now=NOON).outcome == "canceled"
        assert said_somewhere(connection, SECRET) == set()


@pytest.mark.long_cases
@pytest.mark.parametrize("outcome", [Outcome.VALID, Outcome.INVALID, Outcome.POISON])
@pytest.mark.parametrize("lane", list(Lane))
def test_a_late_answer_to_a_forgotten_item_stores_none_of_its_content(
    pool: Engine, lane: Lane, outcome: Outcome
) -> None:
    with pool.begin() as connection:
        letters = workloads.read_versions(connection)["letters"]
        admit(connection, "gone", now=NOON, lane=lane)
        route(connection, now=NOON)
        batch_id, works = (
            (None, claim(connection))
            if lane is Lane.REALTIME
            else submit(connection, letters, now=NOON)
        )
        emptying.forget(connection, "letters", "gone", now=NOON)
        work = next(each for each in works if each.key == "gone")
        save(connection, tried(work, outcome, {"note": SECRET}, error=SECRET), batch_id=batch_id)
        assert said_somewhere(connection, SECRET) == set()
        (attempt,) = rows(connection, "attempt_log", key="gone")
        assert (attempt.outcome, attempt.error) == (outcome, None)
        assert row(connection, "item_status", key="gone").state == "canceled"
