"""The checks of `lanes doctor --after-restore`: the data that a restored copy of the database lacks, and its recovery."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from lanes.batch.reconcile import Copy
from lanes.errors import StandError
from lanes.provider.batches import BATCHES, ProviderBatch, read_batch
from lanes.stand import checks
from lanes.stand.checks import ask, provider_of
from lanes.stand.patient import Patient, query_database
from lanes.units import pluralize

KEPT = timedelta(days=29)  # how long the provider keeps results
OPEN = """
select (select count(*) from lanes.work where state = 'claimed') as claims,
       (select count(*) from lanes.batch where state in ('intended', 'held', 'submitted', 'ended')) as batches
"""
POSITIONS = """
select (select count(*) from lanes.event_outbox) as outbox,
       (select seen_until from lanes.watermark where name = 'arrivals') as arrivals,
       (select count(*) from lanes.webhook) as webhooks,
       (select count(*) from lanes.webhook_event where position > (select min(position) from lanes.webhook)) as to_deliver
"""


def copy(patient: Patient) -> str:
    found = query_database(patient, _find_copy)
    if found is None:
        return "every batch that left since the copy is known"
    batches = f"batches that left since its rows: {_at(found.as_of)}"
    if (
        found.noticed - found.as_of >= KEPT
    ):  # no copy was detected; an earlier call of this check began the search
        batches = f"batches of the last {KEPT.days} days"
    return f"`collect` looks for {batches}; no batch leaves before they are known"


def orphans(patient: Patient) -> str:
    from lanes.store.batch.batches import find_owned_ids

    found, is_new = query_database(patient, _search)
    listed = {each.id: each for each in _list_batches(patient, found.as_of)}
    known = query_database(patient, lambda connection: find_owned_ids(connection, [*listed]))
    unknown = [each for id_, each in listed.items() if id_ not in known]
    if unclear := [_describe_batch(each) for each in unknown if not each.ended]:
        raise StandError(
            f"open at the provider and unknown here: {', '.join(unclear)}. Each is adopted once it has ended, if it is ours; "
            "keep `collect` running, and ask again"
        )
    ended = ", ".join(map(_describe_batch, unknown))
    if unknown and not is_new:
        raise StandError(
            f"ended at the provider and unknown here: {ended}. `collect` adopts those that are ours, within a minute; ask again"
        )
    left = f"; not ours, unless the search that begins now adopts them: {ended}" if unknown else ""
    return f"{pluralize(len(listed), 'batch')} at the provider since the copy, {len(known)} known here{left}"


def lost_items(patient: Patient) -> str:
    from lanes.store.batch.creates import orphan_notes

    found = query_database(patient, orphan_notes)
    if lacking := [f"batch {id_}: {note}" for id_, note in found if "send them again" in note]:
        raise StandError("; ".join(lacking))
    return f"{pluralize(len(found), 'batch')} adopted, with every item"


def in_flight(patient: Patient) -> str:
    row = query_database(patient, lambda connection: connection.execute(text(OPEN)).one())
    return (
        f"{pluralize(row.batches, 'batch')} open in the copy, which `collect` collects; {pluralize(row.claims, 'claim')} "
        "of calls, which end after 20 s: their items are tried again, and what those calls cost is booked as `unknown`"
    )


def positions(patient: Patient) -> str:
    row = query_database(patient, lambda connection: connection.execute(text(POSITIONS)).one())
    read = "the event stream was not read yet"
    if row.arrivals is not None:
        read = f"the event stream is read again from {_at(row.arrivals)}, as far as Prefect keeps events (7 days)"
    return (
        f"{pluralize(row.outbox, 'event')} in the outbox are published, under their old ids if they were before; "
        f"{pluralize(row.webhooks, 'webhook')} go on from their position, with {pluralize(row.to_deliver, 'event')}; {read}; "
        "items that arrived after the copy through SQL, a file or the client have to be sent again under their keys"
    )


CHECKS: Sequence[tuple[str, Callable[[Patient], str]]] = (
    ("database", checks.database),
    ("schema", checks.schema),
    ("blocks", checks.blocks),
    ("copy", copy),
    ("orphans", orphans),
    ("lost", lost_items),
    ("in flight", in_flight),
    ("positions", positions),
)


def _find_copy(connection: Connection) -> Copy | None:
    """Return the detected copy; None if the database is not known to be a copy, or if all orphans are known."""
    from lanes.store.batch.creates import find_copy
    from lanes.store.database import clock

    found = find_copy(connection, now=clock(connection))
    connection.commit()
    return found


def _search(connection: Connection) -> tuple[Copy, bool]:
    """Return the current search for orphans, and whether it is new: without one, begin a search of the last 29 days."""
    from lanes.store.batch.creates import search_orphans
    from lanes.store.database import clock

    if (found := _find_copy(connection)) is not None:
        return found, False
    now = clock(connection)
    search_orphans(connection, now - KEPT, now=now)
    connection.commit()
    return Copy(now, now - KEPT), True


def _list_batches(patient: Patient, since: datetime) -> list[ProviderBatch]:
    base, key = provider_of(patient)
    found: list[ProviderBatch] = []
    after = ""
    while True:
        answer = ask(base, key, f"{BATCHES}?limit=100{after}")
        if answer.status_code >= 400:
            raise StandError(
                f"the provider's batches cannot be listed: it answered {answer.status_code}"
            )
        page: Any = answer.json()
        for each in map(read_batch, page["data"]):
            if each.created_at is not None and each.created_at < since:
                return found
            found.append(each)
        if not page["has_more"]:
            return found
        after = f"&after_id={page['last_id']}"


def _describe_batch(batch: ProviderBatch) -> str:
    requests = "" if batch.requests is None else f" ({pluralize(batch.requests, 'request')})"
    return f"{batch.id}{requests}"


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
