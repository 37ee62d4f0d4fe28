"""The items that a run of the main job sends, and its scene: readers, late data, and items that arrived earlier."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine, text

from lanes.doors.item import read_submission
from lanes.routing.prospect import Prospects
from lanes.routing.route import decide
from lanes.settling.listing import NoResult, ResultRequest
from lanes.stand.prefect_api import PrefectApi
from lanes.store.database import clock
from lanes.store.doors import items, unrouted
from lanes.store.money import sharing
from lanes.store.routing import routes, turnarounds
from lanes.store.settling import results
from lanes.store.signals import Role, holder_exists
from lanes.store.workload import workloads

PER_REQUEST = 40  # the server takes about 200 events a second without loss
ARRIVED, AMENDED = "lanes.item.arrived", "lanes.item.amended"


@dataclass(frozen=True)
class SampleSubmission:
    """One ready-made item, or the amendment of one, in the form that this run sends."""

    workload: str
    key: str
    fields: dict[str, Any]
    expected: dict[str, Any] | None


def samples(
    run: str, items_by_workload: Mapping[str, Iterable[dict[str, Any]]], *, now: datetime
) -> list[SampleSubmission]:
    """Return these ready-made items with keys of this run, so that each run has new work; ages become event times."""
    return [
        _sample(workload, each, run, now)
        for workload, items in items_by_workload.items()
        for each in items
    ]


def send(
    api: PrefectApi, submissions: Sequence[SampleSubmission], *, now: datetime, event: str = ARRIVED
) -> Iterator[int]:
    """Send the samples, and yield after each request the number sent so far."""
    for start in range(0, len(submissions), PER_REQUEST):
        chunk = submissions[start : start + PER_REQUEST]
        api.emit([_event(each, event, uuid4(), now) for each in chunk])
        yield start + len(chunk)


def _sample(workload: str, item: dict[str, Any], run: str, now: datetime) -> SampleSubmission:
    fields = {
        name: value for name, value in item.items() if name not in ("label", "age_days", "key")
    }
    if "age_days" in item:
        fields["occurred_at"] = (now - timedelta(days=item["age_days"])).isoformat()
    key = f"{item['key']}-{run}"
    return SampleSubmission(workload, key, {"key": key, **fields}, item.get("label"))


def _event(sample: SampleSubmission, event: str, event_id: UUID, now: datetime) -> dict[str, Any]:
    return {
        "id": str(event_id),
        "event": event,
        "occurred": now.isoformat(),
        "resource": {
            "prefect.resource.id": f"lanes.workload.{sample.workload}",
            "prefect.resource.name": sample.workload,
        },
        "payload": sample.fields,
    }


# from now until an earlier item is due: the second check rescues an item about 22 s before its due time
DUE_IN = timedelta(seconds=26)
SPARE = timedelta(seconds=10)  # by which the item arrived earlier than a batch would have required
PATIENCE = timedelta(seconds=1)  # the longest wait for the locks of other sessions
MOST = 1_000  # unrouted items among which the admitted ones are searched


def admit_earlier(
    connection: Connection, workload: str, submissions: Sequence[SampleSubmission], *, now: datetime
) -> list[str] | None:
    """Admit and route these items with a near due time, as if they had arrived earlier, and return their keys.

    No key is returned for a workload without a version in force. None means that another router is at work: nothing was done,
    and another transaction may try again.
    """
    if not routes.begin(connection, PATIENCE).alone:
        return None
    version = workloads.read_versions(connection).get(workload)
    if version is None:
        return []
    laws, due_at = turnarounds.read_cached(connection, now=now), now + DUE_IN
    needed = Prospects(laws, now).of(version).back_at - now
    received_at = due_at - needed - SPARE
    candidates = [
        read_submission(
            workload, {**each.fields, "due_at": due_at}, place=each.key, sent_at=received_at
        )
        for each in submissions
    ]
    admitted = items.admit(connection, candidates, door="client", now=received_at)
    keys = {each.key for each in admitted if each.is_admitted}
    received = [
        each
        for each in unrouted.lock_received(connection, MOST, of=[workload])
        if each.arrived.key in keys
    ]
    splits = workloads.splits(connection)
    estimates = sharing.estimates(connection, now=now)
    prospects = Prospects(laws, received_at)
    decisions = [
        (
            each,
            version,
            decide(
                each.arrived,
                version,
                splits,
                now=received_at,
                estimates=estimates,
                prospects=prospects,
            ),
        )
        for each in received
    ]
    routes.save(connection, decisions, now=received_at)
    return [each.arrived.key for each in received]


# consumers that read an answer as soon as it exists
AT_ONCE = frozenset({"support-desk", "page", "appeals"})
# after these, a reader tries again: an item whose event is still in flight does not exist at first
STILL_TO_COME = (NoResult.NOT_YET, NoResult.NO_ITEM)
SENT_AGAIN_AFTER_S = 10.0  # after this time, an amendment that was not applied is sent again
# the longest wait for late data and for `collect`, without which earlier items do not enter; the report shows a lost event
GIVEN_UP_AFTER_S = 120.0

LATE = text("""
select workload, key, answered_at is not null as answered, revision > 0 as amended from lanes.item
 where workload = any(:workloads) and key = any(:keys)
""")


class Scene:
    """The readers and the late data of a demonstration.

    Waiting consumers read the answers to `sent`. `late` amends items after their real-time answers; the batch uses the late
    data and corrects the answers. The items of `before`, all of one workload, enter as if they had arrived minutes ago, once
    `collect` runs and can move items whose batch would be late to real time.
    """

    def __init__(
        self,
        pool: Engine,
        api: PrefectApi,
        sent: Sequence[SampleSubmission],
        late: Sequence[SampleSubmission],
        before: Sequence[SampleSubmission] = (),
        *,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool, self._api, self._elapsed, self._began = pool, api, elapsed, elapsed()
        self._unread = _read_at_once(sent)
        self._late = {(each.workload, each.key): each for each in late}
        self._before, self._entered = [*before], set[tuple[str, str]]()
        self._told: float | None = None

    def look(self) -> list[SampleSubmission]:
        """Read new answers, amend answered items, and admit earlier items; return the admitted items."""
        entered = self._enter() if self.expects_more else []
        if not self._unread and not self._late:
            return entered
        with self._pool.begin() as connection:
            self._read(connection)
            now, ready = clock(connection), self._ready(connection)
        if ready and self._may_tell():
            list(send(self._api, ready, now=now, event=AMENDED))
            self._told = self._elapsed()
        return entered

    @property
    def expects_more(self) -> bool:
        """Whether earlier items have yet to enter."""
        return bool(self._before) and not self._has_given_up

    def holds_back(self, workload: str) -> bool:
        """Return whether the workload's batch should wait, to use late data and to be late for the earlier items."""
        early = [each.workload for each in self._before if self.expects_more]
        awaited = {of for of, _ in (*self._late, *self._entered)}.union(early)
        return workload in awaited and not self._has_given_up

    @property
    def _has_given_up(self) -> bool:
        return self._elapsed() - self._began >= GIVEN_UP_AFTER_S

    def _enter(self) -> list[SampleSubmission]:
        """Admit the earlier items and return them; none while no run rescues late items, or another router is at work."""
        with self._pool.begin() as connection:
            if not holder_exists(connection, Role.COLLECTOR):
                return []
            keys = admit_earlier(
                connection, self._before[0].workload, self._before, now=clock(connection)
            )
        if keys is None:
            return []
        entered = [each for each in self._before if each.key in keys]
        self._before, self._entered = [], {(each.workload, each.key) for each in entered}
        self._unread |= _read_at_once(entered)
        return entered

    def _read(self, connection: Connection) -> None:
        requests = [*self._unread.values()]
        for request, found in zip(
            requests, results.take(connection, requests) if requests else (), strict=True
        ):
            if found not in STILL_TO_COME:
                del self._unread[request.workload, request.key]
                self._entered.discard((request.workload, request.key))

    def _ready(self, connection: Connection) -> list[SampleSubmission]:
        """Return the open amendments once all of their items are answered, so that none is late; until then none."""
        if not self._late:
            return []
        asked = {"workloads": [of for of, _ in self._late], "keys": [key for _, key in self._late]}
        rows = {(row.workload, row.key): row for row in connection.execute(LATE, asked)}
        self._late = {
            of: each for of, each in self._late.items() if of not in rows or not rows[of].amended
        }
        answered = all(of in rows and rows[of].answered for of in self._late)
        return [*self._late.values()] if answered else []

    def _may_tell(self) -> bool:
        return self._told is None or self._elapsed() - self._told >= SENT_AGAIN_AFTER_S


def _read_at_once(sent: Sequence[SampleSubmission]) -> dict[tuple[str, str], ResultRequest]:
    return {
        (each.workload, each.key): ResultRequest(each.workload, each.key, reader)
        for each in sent
        if (reader := each.fields.get("consumer")) in AT_ONCE
    }
