"""Faults of two hosts, one after the other, while items arrive; and the number of items lost, doubled or paid twice."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from sqlalchemy import NullPool, create_engine, text

from tests.fleet import Fleet
from tests.waiting import wait_for_zero

WORKLOAD = "tickets"
CUT_S = 20.0  # longer than Postgres keeps the session of a host that is cut off
REST_S = 3.0  # between two faults
SENDERS = 8
STALLS_S = 420  # the longest time without progress; a stored event is found in about 360
ANSWERS = "select key, answered_at from lanes.item where key like :some and key not like '%1'"
DOUBLED = """
select count(*) from (select item_id from lanes.result r join lanes.item i on i.id = item_id where i.key like :some
 group by item_id, r.generation, r.revision, standing having count(*) > 1) d
"""
ROUTED = "select key from lanes.item where key like :some and position is not null"
UNANSWERED = "select count(*) from lanes.item where key like :some and answered_at is null"
STORED = "select payload->>'key' from events where event = 'lanes.item.arrived' and payload->>'key' like :some"
UNDER_WAY = "select count(*) from lanes.work where state in ('claimed', 'submitted')"
REPEATED = """
select coalesce(sum(times - 1), 0) from (select count(*) as times from lanes.attempt a join lanes.item i on i.id = a.item_id
 where i.key like :some and purpose = 'answer' and outcome = 'valid' and not exists (select from lanes.attempt u
   where u.work_id = a.work_id and u.claim_no = a.claim_no and u.outcome = 'unknown') group by item_id, a.lane) a
"""
UNKNOWN = "select count(*) from lanes.attempt where outcome = 'unknown'"
UNBOOKED = """
select count(*) from lanes.attempt u where outcome = 'unknown' and not exists (select from lanes.attempt a
 where a.work_id = u.work_id and a.claim_no = u.claim_no and a.message_id is not null)
"""
SPENT = "select count(*) as responses, count(batch_id) as of_batches from lanes.spend"
OURS = "select provider_batch_id from lanes.batch_status"


@dataclass(frozen=True)
class HostFault:
    """A fault of a host or a shared process; `act` causes the fault and returns when it is repaired."""

    name: str
    act: Callable[[Fleet], None]


@dataclass(frozen=True)
class Struck:
    """A fault that occurred, its duration, and the slowest real-time answer to an event due between it and the next fault."""

    name: str
    lasted_s: float
    slowest_s: float


@dataclass(frozen=True)
class MatrixReport:
    """The losses, duplicates and double payments of a run; `unknown` counts the calls that were in flight at a kill.

    `unstored` counts the events that Prefect accepted and lost at a kill before it stored them, so Lanes cannot find them.
    """

    struck: Sequence[Struck]
    items: int
    lost: int
    doubled: int
    paid_twice: int
    unknown: int
    unstored: int

    def table(self) -> str:
        """Return the faults and the totals as lines of text."""
        lines = [f"{'fault':<28}{'lasted s':>10}{'slowest answer s':>18}"]
        lines += [
            f"{each.name:<28}{each.lasted_s:>10.1f}{each.slowest_s:>18.1f}" for each in self.struck
        ]
        sums = f"lost {self.lost}, doubled {self.doubled}, paid twice {self.paid_twice}"
        beside = f"{self.unknown} calls in flight at a kill, {self.unstored} events lost by Prefect"
        return "\n".join([*lines, f"{self.items} items: {sums}; {beside}"])


def restarted(part: str) -> HostFault:
    """Return the fault that kills a shared process and starts it again."""
    return HostFault(f"kill {part}", lambda fleet: fleet.restart(part))


def host_killed(name: str) -> HostFault:
    """Return the fault that kills every process of a host and starts the host again."""

    def act(fleet: Fleet) -> None:
        fleet.hosts[name].kill()
        fleet.hosts[name].start()

    return HostFault(f"kill host {name}", act)


def cut_off(name: str) -> HostFault:
    """Return the fault that disconnects a host's cable for `CUT_S` seconds."""

    def act(fleet: Fleet) -> None:
        fleet.hosts[name].cut_off()
        time.sleep(CUT_S)
        fleet.hosts[name].connect()

    return HostFault(f"cut off host {name}", act)


def faults(fleet: Fleet) -> list[HostFault]:
    """Return every fault of the fleet: each shared process, each host, and each cable that can be cut."""
    shared = [restarted(part) for part in fleet.parts if part != "standin"]
    hosts = [host_killed(name) for name in fleet.hosts]
    cables = [cut_off(each.name) for each in fleet.hosts.values() if each.cable is not None]
    return [
        *shared,
        HostFault("kill postgres", lambda fleet: fleet.crash_postgres()),
        *hosts,
        *cables,
    ]


def run_matrix(fleet: Fleet, items: int, *, per_s: float) -> MatrixReport:
    """Send the items, `per_s` a second, cause every fault meanwhile, and wait for the last answer."""
    word = uuid4().hex[:8]
    some = f"{word}-%"
    began: list[tuple[str, datetime, float]] = []
    with ThreadPoolExecutor(1) as beside:
        sending = beside.submit(_send_all, fleet, word, items, per_s)
        for fault in faults(fleet):
            time.sleep(REST_S)
            at, start = datetime.now(UTC), time.monotonic()
            fault.act(fleet)
            began.append((fault.name, at, time.monotonic() - start))
            print(f"{fault.name}: whole again after {began[-1][2]:.1f} s", flush=True)
        due = sending.result()
    # an item that is routed after the departure would wait for the next one
    wait_for_zero(lambda: len(_unrouted(fleet, due, some)), stalls_s=STALLS_S)
    depart(fleet)
    unanswered = wait_for_zero(partial(_value, fleet, UNANSWERED, some=some), stalls_s=STALLS_S)
    wait_for_zero(partial(_value, fleet, UNDER_WAY), stalls_s=STALLS_S)
    missing = _unrouted(fleet, due, some)
    overlooked = missing & _stored(fleet, some)
    answers = {row.key: row.answered_at for row in fleet.view.rows(ANSWERS, some=some)}
    moments = [*(at for _, at, _ in began), datetime.now(UTC)]
    slowest = [
        max(
            (
                answers[key] - at
                for key, at in due.items()
                if key in answers and begins <= at < ends
            ),
            default=timedelta(),
        )
        for begins, ends in itertools.pairwise(moments)
    ]
    struck = [
        Struck(name, lasted_s, slow.total_seconds())
        for (name, _, lasted_s), slow in zip(began, slowest, strict=True)
    ]
    doubled, unknown = _value(fleet, DOUBLED, some=some), _value(fleet, UNKNOWN)
    lost, unstored = unanswered + len(overlooked), len(missing - overlooked)
    return MatrixReport(
        struck, items, lost, doubled, paid_twice(fleet, some), unknown, unstored=unstored
    )


def paid_twice(fleet: Fleet, some: str) -> int:
    """Count the responses billed beyond the ledger and the calls in flight at a fault, and the answers paid again.

    A call in flight at a fault has an attempt whose outcome is unknown. Its response may still arrive, for example after a
    cable was cut: then the response is in the ledger and does not count as a repeat.
    """
    view, unbooked = fleet.view, _value(fleet, UNBOOKED)
    bill = view.endpoint.get("_control/bill").json()
    listed = view.endpoint.get("v1/messages/batches?limit=100", headers={"x-api-key": "x"}).json()
    (spent,) = view.rows(SPENT)
    ours = {each.provider_batch_id for each in view.rows(OURS)}
    strangers = [each for each in listed["data"] if each["id"] not in ours]
    of_batches = sum(each["request_counts"]["succeeded"] for each in listed["data"])
    beyond = max(0, bill["responses"] - spent.responses - unbooked)
    return (
        beyond
        + abs(of_batches - spent.of_batches)
        + len(strangers)
        + int(_value(fleet, REPEATED, some=some))
    )


def _unrouted(fleet: Fleet, due: Mapping[str, datetime], some: str) -> set[str]:
    """Return the keys of the events without a routed item."""
    return due.keys() - {row.key for row in fleet.view.rows(ROUTED, some=some)}


def _stored(fleet: Fleet, some: str) -> set[str]:
    """Return the keys of the events that are in Prefect's database."""
    running = fleet.postgres.running()
    assert running is not None
    with create_engine(running.url("prefect"), poolclass=NullPool).connect() as connection:
        return set(connection.execute(text(STORED), {"some": some}).scalars())


def depart(fleet: Fleet) -> None:
    """Run `depart` for the waiting batch work."""
    fleet.view.run("depart", {"departure": {"workload": WORKLOAD}})


def _send_all(fleet: Fleet, word: str, items: int, per_s: float) -> dict[str, datetime]:
    """Send the items, and return the due time of each by its key."""
    began, first = time.monotonic(), datetime.now(UTC)
    due = {f"{word}-{nth:05d}": first + timedelta(seconds=nth / per_s) for nth in range(items)}
    with ThreadPoolExecutor(SENDERS) as senders:
        sending = []
        for nth, key in enumerate(due):
            time.sleep(max(0, began + nth / per_s - time.monotonic()))
            sending.append(senders.submit(_send, fleet, key, nth))
        for each in sending:
            each.result()
    return due


def _send(fleet: Fleet, key: str, nth: int) -> None:
    fields: dict[str, Any] = {"urgent": True} if nth % 3 == 0 else {"lane": "realtime"}
    if nth % 10 == 1:  # the table shows only real-time items
        fields = {"lane": "batch"}
    payload = {"key": key, "payload": {"text": f"Letter {key}"}, **fields}
    fleet.view.emit(WORKLOAD, payload)


def _value(fleet: Fleet, query: str, **values: Any) -> Any:
    return fleet.view.value(query, **values)
