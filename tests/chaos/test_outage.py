"""Faults of other systems: an outage of the provider, callers that leave transactions open, and a Postgres that opens no
connections for a while. No item is lost, no lane stops.

The module has its own stand, because the tests count its incidents and its bill.
"""

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from tests.arrivals import Arrival, arrive
from tests.running_stand import RunningStand, put_up, take_down
from tests.slack_standin import SlackStandIn, shown
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
OUTAGE_S = 90
BEFORE_S = AFTER_S = 15  # of steady arrivals before and after the outage
DOORS = ("messages", "batches.create", "batches.retrieve", "batches.list", "batches.results")
BESIDE = 100  # items that arrive while transactions are open
UNCONNECTED_S = 7  # longer than Prefect's default limit for a new connection


@pytest.fixture(scope="module")
def stand(open_folder: Path, messages: SlackStandIn) -> Iterator[RunningStand]:
    up = put_up(open_folder / "outage", LANES_LOCAL_TURNAROUND_S="0", **messages.environment())
    yield up
    take_down(up)


@pytest.fixture(autouse=True)
def healed(stand: RunningStand) -> Iterator[None]:
    yield
    stand.endpoint.delete("_control/faults").raise_for_status()


def a_quarter_urgent(nth: int) -> Mapping[str, Any]:
    """Return the fields of item `nth`: a quarter are urgent; the others are pinned to get a real-time answer too."""
    return {"urgent": True} if nth % 4 == 0 else {"lane": "realtime"}


def departed(stand: RunningStand) -> str:
    """Run `depart` for all waiting work, and return the state type in which the run ended."""
    return stand.wait_for_end(stand.run("depart", {"departure": {}}))


def named(stand: RunningStand, state: str) -> list[dict[str, Any]]:
    """Return the flow runs whose state is named `state`."""
    wanted = {"flow_runs": {"state": {"name": {"any_": [state]}}}}
    return stand.prefect.post("flow_runs/filter", json=wanted).raise_for_status().json()


def all_settled(stand: RunningStand) -> bool:
    """Return whether every item is settled or canceled and no work is open."""
    open_items = "select count(*) from lanes.item_status where state not in ('settled', 'canceled')"
    open_work = "select count(*) from lanes.work where state in ('ready', 'claimed', 'submitted')"
    return stand.value(open_items) == stand.value(open_work) == 0


def settle_everything(stand: RunningStand) -> None:
    """Submit all waiting batch work, and wait until everything is settled."""

    def settled() -> bool:
        if not all_settled(stand) and stand.value(
            "select count(*) from lanes.work where lane = 'batch' and state = 'ready'"
        ):
            departed(stand)
        return all_settled(stand)

    until(settled, what="the end of everything")


def still_arriving(arriving: Future[list[Arrival]], until: float) -> None:
    """Wait until the monotonic time `until`, and assert that items still arrive then."""
    over, _ = wait([arriving], timeout=max(0.0, until - time.monotonic()))
    assert not over, f"the last item came too early: {arriving.exception()}"


def test_an_outage_fails_no_item_and_opens_one_incident_with_one_message(
    stand: RunningStand, messages: SlackStandIn
) -> None:
    number = BEFORE_S + OUTAGE_S + AFTER_S
    down = "select * from lanes.incident_log where promise = 'provider_down'"
    with ThreadPoolExecutor(1) as beside:
        began = time.monotonic() + BEFORE_S
        arriving = beside.submit(
            arrive,
            stand,
            "tickets",
            number,
            per_s=1,
            fields=a_quarter_urgent,
            poll_s=0.5,
        )
        still_arriving(arriving, began)
        for door in DOORS:
            overloaded = {
                "where": door,
                "kind": "status",
                "status": 529,
                "error_type": "overloaded_error",
            }
            stand.endpoint.post("_control/faults", json=overloaded).raise_for_status()
        still_arriving(arriving, began + OUTAGE_S / 4)
        departed(stand)  # an off-peak departure during the outage
        (opened,) = until(lambda: stand.rows(down), within_s=20, what="the incident")
        (said,) = until(lambda: messages.about(opened.incident_id), within_s=20, what="the message")
        assert "the provider answered 529" in shown(said.blocks)
        red = until(
            lambda: named(stand, "Provider down"), within_s=30, what="the state of the drain's run"
        )
        assert all("529" in each["state"]["message"] for each in red)
        still_arriving(arriving, began + OUTAGE_S)
        assert [each.state for each in stand.rows(down)] == ["open"]
        struck = stand.endpoint.get("_control/faults").json()["data"][0]["hits"]
        assert struck > OUTAGE_S / 6  # the back-off grows to 5 s and no further
        stand.endpoint.delete("_control/faults").raise_for_status()
        assert len(arriving.result()) == number
    settle_everything(stand)
    until(
        lambda: stand.rows(down)[0].state == "resolved", within_s=30, what="the end of the incident"
    )
    until(lambda: said.text.startswith(":white_check_mark: Resolved"), within_s=30, what="the edit")
    assert "the provider answered 529" in shown(said.blocks)  # still names the cause
    until(lambda: not named(stand, "Provider down"), within_s=30, what="the end in the run's state")
    others = (
        "select promise, state, parent_id from lanes.incident_log where promise <> 'provider_down'"
    )
    assert {each.parent_id for each in stand.rows(others)} <= {
        opened.incident_id
    }  # the outage is their parent
    until(
        lambda: {each.state for each in stand.rows(others)} <= {"resolved"},
        what="their end",
    )
    assert messages.messages == [said]  # and its message covers them
    assert stand.value("select count(*) from lanes.item where failed_at is not null") == 0
    assert stand.value("select sum(failures) from lanes.work") == 0


def test_after_an_outage_the_ledger_the_attempts_and_the_providers_bill_agree(
    stand: RunningStand,
) -> None:
    """Run after the outage: no answer was lost in it, so all three agree to the last digit."""
    settle_everything(stand)
    bill = stand.endpoint.get("_control/bill").json()
    spend = stand.rows("select count(*) as responses, sum(cost_usd) as usd from lanes.spend")[0]
    assert (spend.responses, spend.usd) == (bill["responses"], Decimal(bill["usd"]))
    assert stand.value("select sum(cost_usd) from lanes.attempt_log") == spend.usd


class Callers:
    """Four connections, each idle in a transaction of its own."""

    def __init__(self, stand: RunningStand, opened: ExitStack) -> None:
        self._stand, self._opened = stand, opened
        self.open: dict[str, Connection] = {}

    def call(self, verb: str, query: str, **values: Any) -> Any:
        """Call a function on a new connection and return its first row; the transaction stays open."""
        self.open[verb] = connection = self._opened.enter_context(self._stand.pool.connect())
        return connection.execute(text(f"select * from {query}"), values).first()

    def all_idle(self) -> bool:
        """Return whether every connection is still idle in its transaction."""
        idle = "select count(*) from pg_stat_activity where state = 'idle in transaction' and pid = any(:pids)"
        pids = [each.connection.dbapi_connection.info.backend_pid for each in self.open.values()]  # pyright: ignore
        return self._stand.value(idle, pids=pids) == len(pids)


def under_way(stand: RunningStand, keys: Sequence[str]) -> None:
    """Send these items, whose calls stall at the provider until its faults are cleared.

    Their workload has no batch pass, which could answer an item again during the test.
    """
    for key in keys:
        stalled = {"where": "messages", "kind": "stall", "match": key}
        stand.endpoint.post("_control/faults", json=stalled).raise_for_status()
        stand.emit(
            "archive", {"key": key, "payload": {"title": key, "text": "A letter"}, "urgent": True}
        )
    working = "select count(*) from lanes.item_status where workload = 'archive' and key = any(:keys) and state = 'working'"
    until(lambda: stand.value(working, keys=list(keys)) == len(keys), what="the calls")


def beside(stand: RunningStand) -> float:
    """Send `BESIDE` items, and return the latency of the slowest in seconds."""
    arrivals = arrive(stand, "tickets", BESIDE, per_s=10, fields=a_quarter_urgent, poll_s=0.05)
    return max(each.latency_s for each in arrivals)


def test_four_callers_with_open_transactions_delay_only_their_own_rows(
    stand: RunningStand,
) -> None:
    undisturbed_s = beside(stand)
    word = uuid4().hex[:8]
    read, canceled, amended, submitted = (
        f"{verb}-{word}" for verb in ("read", "cancel", "amend", "submit")
    )
    with ExitStack() as opened:
        callers = Callers(stand, opened)
        under_way(stand, [read, canceled, amended])
        callers.call("read", "lanes.read_result('archive', :k, 'idle')", k=read)
        assert callers.call("cancel", "lanes.cancel('archive', :k)", k=canceled)[0] == "canceled"
        assert (
            callers.call("amend", """lanes.amend('archive', :k, '{"text": "late"}')""", k=amended)[
                0
            ]
            == "amended"
        )
        assert (
            callers.call("submit", """lanes.submit('archive', '{"text": "n"}', :k)""", k=submitted)[
                0
            ]
            == "accepted"
        )
        stand.endpoint.delete(
            "_control/faults"
        ).raise_for_status()  # their answers now arrive at locked rows
        disturbed_s = beside(stand)
        assert disturbed_s <= 3 * undisturbed_s + 2, (disturbed_s, undisturbed_s)
        assert stand.state("archive", read) == "settled"  # a read blocks no write of the item
        assert [stand.state("archive", key) for key in (canceled, amended)] == [
            "working",
            "working",
        ]
        assert callers.all_idle()
        for connection in callers.open.values():
            connection.rollback()
    for key in (canceled, amended):
        until(
            lambda key=key: stand.state("archive", key) == "settled",
            within_s=30,
            what=f"the answer of {key}",
        )
    assert stand.state("archive", submitted) is None
    tries = stand.rows(
        "select key, outcome, error from lanes.attempt_log where key like :k order by 1, 2",
        k=f"%-{word}",
    )
    assert [each.key for each in tries if each.outcome == "valid"] == sorted(
        [read, canceled, amended]
    ), tries
    assert stand.endpoint.get(f"_control/texts?contains={word}").json()["responses"] == 3, (
        tries
    )  # each was paid once


def test_prefect_answers_all_requests_while_postgres_is_slow_to_open_connections(
    stand: RunningStand,
) -> None:
    assert stand.info.postgres is not None

    def ask(_: int) -> int:
        return stand.prefect.post("flow_runs/count", json={}, timeout=60).status_code

    os.kill(stand.info.postgres.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(40) as requests, ExitStack() as stopped:
        stopped.callback(os.kill, stand.info.postgres.pid, signal.SIGCONT)
        answers = [requests.submit(ask, each) for each in range(40)]
        done, waiting = wait(answers, timeout=UNCONNECTED_S)
    assert {each.result() for each in answers} == {200}
    assert waiting, f"each of {len(done)} requests found an open connection"
