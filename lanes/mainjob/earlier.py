"""Items as if they had come some minutes ago, so that a run of less than a minute shows what a late batch leads to.

Each is received and routed by the product's own functions at a moment that is over: early enough for a batch to be back in
time, had one left. What follows is of now: nothing left, its due time is near, and the second look takes it to real time.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from lanes.doors.item import read_submission
from lanes.mainjob.samples_sender import Sample
from lanes.routing.prospect import Prospects
from lanes.routing.route import decide
from lanes.store.doors import items, unrouted
from lanes.store.money import sharing
from lanes.store.routing import routes, turnarounds
from lanes.store.workload import workloads

DUE_IN = timedelta(
    seconds=26
)  # from now on: the second look takes an item over about 22 s before it is due
SPARE = timedelta(seconds=10)  # by which it came earlier than a batch would have needed
PATIENCE = timedelta(seconds=1)  # with the locks of others
MOST = 1_000  # items that no router has seen, among which those are looked for


def entered(
    connection: Connection, workload: str, given: Sequence[Sample], *, now: datetime
) -> list[str] | None:
    """Return the keys of those that are received and routed now, and due soon; none of a workload that is not in force.

    None: another router is at work; nothing was done, and another transaction may try again.
    """
    if not routes.begin(connection, PATIENCE).alone:
        return None
    version = workloads.in_force(connection).get(workload)
    if version is None:
        return []
    laws, due_at = turnarounds.known(connection, now=now), now + DUE_IN
    needed = Prospects(laws, now).of(version).back_at - now
    then = due_at - needed - SPARE
    asked = [
        read_submission(workload, {**each.fields, "due_at": due_at}, place=each.key, sent_at=then)
        for each in given
    ]
    admitted = items.admit(connection, asked, door="client", now=then)
    keys = {each.key for each in admitted if each.admitted}
    received = [
        each
        for each in unrouted.received(connection, MOST, of=[workload])
        if each.arrived.key in keys
    ]
    splits, estimates, prospects = (
        workloads.splits(connection),
        sharing.estimates(connection, now=now),
        Prospects(laws, then),
    )
    decided = [
        (
            each,
            version,
            decide(
                each.arrived, version, splits, now=then, estimates=estimates, prospects=prospects
            ),
        )
        for each in received
    ]
    routes.save(connection, decided, now=then)
    return [each.arrived.key for each in received]
