"""Tests that the reference of events agrees with the events that Lanes sends: each is made here, and its fields compared."""

from collections import defaultdict
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from lanes.promises.breaches import frozen
from lanes.promises.incident import EVERYBODY, Promise
from lanes.store import incidents
from lanes.store.batch import collection
from lanes.store.realtime.load import call_for_drain
from lanes.store.replays import promotions
from lanes.store.settling import jobs
from lanes.words import Lane, Outcome
from tests.conftest import NOON, later
from tests.docs.references.events import out
from tests.examples import admit, publish, route
from tests.rollouts import begin
from tests.store.advice.test_proposals import refresh, seed
from tests.store.replays.test_replays import replayed, settle
from tests.store.tries import A, B, claimed_item, save, submit, tried

DOCUMENTED = out()


def item_events(connection: Connection) -> None:
    """Admit, answer and correct an item, fail another one, and send the first key again with other content."""
    letters = publish(connection, now=NOON, mode="lambda")
    admit(connection, "k", now=NOON, lane=Lane.REALTIME, ack=True)
    admit(connection, "k", now=NOON, payload={"text": "otherwise"})
    save(connection, tried(claimed_item(connection, "k"), output=A))
    batch_id, (work,) = submit(connection, letters)
    save(connection, tried(work, output=B), batch_id=batch_id)
    save(connection, tried(claimed_item(connection, "poison"), Outcome.POISON))


def batch_events(connection: Connection) -> None:
    """Submit a batch, end it and collect it."""
    letters = publish(connection, now=NOON)
    admit(connection, "k", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, (work,) = submit(connection, letters)
    save(connection, tried(work), batch_id=batch_id)
    outcomes: dict[str, int] = dict.fromkeys(("succeeded", "errored", "canceled", "expired"), 0)
    collection.mark_ended(connection, batch_id, at=NOON, now=NOON, outcomes=outcomes)
    collection.mark_collected(connection, batch_id, now=NOON)


def job_events(connection: Connection) -> None:
    """Cancel a job whose only item is open."""
    publish(connection, now=NOON)
    admit(connection, "k", now=NOON, job="mine")
    jobs.cancel(connection, "mine", now=NOON)
    jobs.finish(connection, now=later(minutes=1))


def incident_events(connection: Connection) -> None:
    """Record that the provider refuses the account, and that it accepts requests again."""
    publish(connection, now=NOON)
    incidents.record(connection, [frozen("acme", 3, "no credit")], now=NOON)
    over = incidents.resolve(
        connection,
        Promise.PROVIDER_FROZEN,
        EVERYBODY,
        "acme",
        sentence="It takes what is asked again.",
        now=later(minutes=1),
    )
    assert over is not None


def rollout_events(connection: Connection) -> None:
    """Begin a rollout."""
    publish(connection, now=NOON)
    begin(connection, now=NOON)


def proposals_made(connection: Connection) -> None:
    """Propose a rollout for a consumer that reads late."""
    seed(connection, "nightly")
    refresh(connection)


def calls_for_drains(connection: Connection) -> None:
    """Call for a drain while work is waiting."""
    call_for_drain(connection, ready=3, received=1, now=NOON)


def replay_events(connection: Connection) -> None:
    """Promote a replay, and demote it."""
    letters = publish(connection, now=NOON)
    settle(connection, "k")
    replayed(connection, letters, {"k": B})
    promotions.promote(connection, "letters", now=NOON)
    promotions.demote(connection, "letters", now=NOON)


@pytest.mark.parametrize(
    "happens",
    [
        item_events,
        batch_events,
        job_events,
        incident_events,
        rollout_events,
        proposals_made,
        calls_for_drains,
        replay_events,
    ],
)
def test_events_have_the_fields_of_the_reference(
    connection: Connection, happens: Callable[[Connection], None]
) -> None:
    happens(connection)
    told = defaultdict[str, set[str]](set)
    for event, payload in connection.execute(text("select event, payload from lanes.event_outbox")):
        told[event].update(payload)
    assert told
    assert told.keys() <= DOCUMENTED.keys()
    for event, says in told.items():
        allowed = set(DOCUMENTED[event].says)
        assert says <= allowed
        assert allowed - says <= {"ack", "key"}, event
