"""What others do to us: the provider is away for a while, and callers leave their transactions open. Nothing is lost or stops.

One stand of its own: its incidents and its bill are counted.
"""

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

from lanes.mainjob.mainjob import ENDED
from tests.arrivals import Arrival, arrive
from tests.running_stand import RunningStand, put_up, take_down
from tests.slack_standin import SlackStandIn, shown
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
OUTAGE_S = 90
BEFORE_S = AFTER_S = 15  # of steady arrivals around it
DOORS = ("messages", "batches.create", "batches.retrieve", "batches.list", "batches.results")
BESIDE = 100  # items that arrive beside open transactions


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
    """As real traffic: the others are ordinary, and pinned here so that each has a real-time answer to wait for."""
    return {"urgent": True} if nth % 4 == 0 else {"lane": "realtime"}


def departed(stand: RunningStand) -> str:
    """How a run of `depart` over everything that waits ended."""
    run = stand.run("depart", {"departure": {}})

    def state() -> str:
        return stand.prefect.get(f"flow_runs/{run}").raise_for_status().json()["state_type"]

    until(lambda: state() in ENDED, within_s=120, what="the end of a submit")
    return state()


def named(stand: RunningStand, state: str) -> list[dict[str, Any]]:
    """Return the runs whose state has that name."""
    wanted = {"flow_runs": {"state": {"name": {"any_": [state]}}}}
    return stand.prefect.post("flow_runs/filter", json=wanted).raise_for_status().json()


def all_settled(stand: RunningStand) -> bool:
    """Every item is settled, and none of their work is under way."""
    open_items = "select count(*) from lanes.item_status where state not in ('settled', 'canceled')"
    open_work = "select count(*) from lanes.work where state in ('ready', 'claimed', 'submitted')"
    return stand.value(open_items) == stand.value(open_work) == 0


def settle_everything(stand: RunningStand) -> None:
    """Everything that waited for a batch was submitted and came back."""

    def settled() -> bool:
        if not all_settled(stand) and stand.value(
            "select count(*) from lanes.work where lane = 'batch' and state = 'ready'"
        ):
            departed(stand)
        return all_settled(stand)

    until(settled, within_s=240, what="the end of everything")


def still_arriving(arriving: Future[list[Arrival]], until: float) -> None:
    """Wait that long while items keep arriving."""
    over, _ = wait([arriving], timeout=max(0.0, until - time.monotonic()))
    assert not over, f"the last item came too early: {arriving.exception()}"


def test_an_outage_fails_no_item_and_is_one_incident_and_one_message(
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
            within_s=240,
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
        departed(stand)  # off-peak comes in the middle of it
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
        assert struck > OUTAGE_S / 6  # the pauses grow to 5 s, and no further
        stand.endpoint.delete("_control/faults").raise_for_status()
        assert len(arriving.result()) == number
    settle_everything(stand)
    until(
        lambda: stand.rows(down)[0].state == "resolved", within_s=30, what="the end of the incident"
    )
    until(lambda: said.text.startswith(":white_check_mark: Resolved"), within_s=30, what="the edit")
    assert "the provider answered 529" in shown(said.blocks)  # its end keeps the cause
    until(lambda: not named(stand, "Provider down"), within_s=30, what="the end in the run's state")
    others = (
        "select promise, state, parent_id from lanes.incident_log where promise <> 'provider_down'"
    )
    assert {each.parent_id for each in stand.rows(others)} <= {
        opened.incident_id
    }  # it explains them,
    until(
        lambda: {each.state for each in stand.rows(others)} <= {"resolved"},
        within_s=60,
        what="their end",
    )
    assert messages.messages == [said]  # and they are told by it
    assert stand.value("select count(*) from lanes.item where failed_at is not null") == 0
    assert stand.value("select sum(failures) from lanes.work") == 0


def test_after_an_outage_the_ledger_the_attempts_and_the_providers_bill_agree(
    stand: RunningStand,
) -> None:
    """Follows the outage: no answer was lost in it, so all three are the same to the last digit."""
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
        """Return the result of the call; its transaction stays open."""
        self.open[verb] = connection = self._opened.enter_context(self._stand.pool.connect())
        return connection.execute(text(f"select * from {query}"), values).first()

    def all_idle(self) -> bool:
        """Whether none of them has ended meanwhile."""
        idle = "select count(*) from pg_stat_activity where state = 'idle in transaction' and pid = any(:pids)"
        pids = [each.connection.dbapi_connection.info.backend_pid for each in self.open.values()]  # pyright: ignore
        return self._stand.value(idle, pids=pids) == len(pids)


def under_way(stand: RunningStand, keys: Sequence[str]) -> None:
    """Leave these items with the provider, which answers them when its faults are cleared."""
    for key in keys:
        stalled = {"where": "messages", "kind": "stall", "match": key}
        stand.endpoint.post("_control/faults", json=stalled).raise_for_status()
        stand.emit("tickets", {"key": key, "payload": {"text": f"Letter {key}"}, "urgent": True})
    working = "select count(*) from lanes.item_status where workload = 'tickets' and key = any(:keys) and state = 'working'"
    until(lambda: stand.value(working, keys=list(keys)) == len(keys), what="the calls")


def beside(stand: RunningStand) -> float:
    """How long the slowest of the items that arrive took."""
    arrivals = arrive(stand, "tickets", BESIDE, per_s=10, fields=a_quarter_urgent, poll_s=0.05)
    return max(each.latency_s for each in arrivals)


def test_four_callers_who_leave_their_transactions_open_hold_up_nothing_but_their_own_rows(
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
        callers.call("read", "lanes.read_result('tickets', :k, 'idle')", k=read)
        assert callers.call("cancel", "lanes.cancel('tickets', :k)", k=canceled)[0] == "canceled"
        assert (
            callers.call("amend", """lanes.amend('tickets', :k, '{"text": "late"}')""", k=amended)[
                0
            ]
            == "amended"
        )
        assert (
            callers.call("submit", """lanes.submit('tickets', '{"text": "n"}', :k)""", k=submitted)[
                0
            ]
            == "accepted"
        )
        stand.endpoint.delete(
            "_control/faults"
        ).raise_for_status()  # their answers come back to rows that are held
        disturbed_s = beside(stand)
        assert disturbed_s <= 3 * undisturbed_s + 2, (disturbed_s, undisturbed_s)
        assert stand.state("tickets", read) == "answered"  # who reads an item only names it
        assert [stand.state("tickets", key) for key in (canceled, amended)] == [
            "working",
            "working",
        ]
        assert callers.all_idle()
        for connection in callers.open.values():
            connection.rollback()
    for key in (canceled, amended):
        until(
            lambda key=key: stand.state("tickets", key) == "answered",
            within_s=30,
            what=f"the answer of {key}",
        )
    assert stand.state("tickets", submitted) is None
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
