"""Puts together what whoever is on call is told of an incident. Each part is looked up for itself, within a limit."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from lanes.ids import ItemId
from lanes.promises.briefing import (
    MOST_CAUSES,
    NO_RUN,
    UNSAMPLED,
    Briefing,
    Cause,
    ErrorCount,
    kinds,
    sample_of,
)
from lanes.promises.incident import Incident, Promise
from lanes.store.promises import at_stake, causes, trends
from lanes.store.promises.at_stake import AtStake
from lanes.store.promises.causes import Found
from lanes.store.rollouts import rollouts

T = TypeVar("T")
WITHIN = "1500ms"  # one look-up
SAMPLES = 20  # items among which one is looked for whose key can be typed
ITEMS = "select workload, key from lanes.item where id = any(:ids) order by array_position(cast(:ids as bigint[]), id)"
RUN_OF_BATCH = "select flow_run_id from lanes.batch where id = :id"
OWN_RUN = (
    Promise.BATCH_SLOW,
    Promise.BATCH_UNCLEAR,
)  # nothing was tried of it yet: the run that submitted it


def brief(connection: Connection, of: Incident, *, now: datetime) -> Briefing:
    """What is known of the incident as of now. A part that cannot be looked up in time says so, and costs no other."""
    connection.execute(
        text("select set_config('statement_timeout', :within, true)"), {"within": WITHIN}
    )
    found, untold = _alone(connection, lambda: causes.find(connection, of, now=now), Found())
    stakes, unstaked = _alone(connection, lambda: at_stake.find(connection, of, now=now), AtStake())
    trend, trendless = _alone(connection, lambda: trends.find(connection, of, now=now), "")
    errors, promise = kinds(found.met), of.promise
    items, _ = _alone(
        connection, lambda: _items(connection, [*_item_ids(errors), *found.item_ids]), []
    )
    run, _ = _alone(connection, lambda: _run_of(connection, of, found), None)
    sample = None if promise in UNSAMPLED else sample_of([*items, *stakes.items])
    return Briefing(
        causes=tuple(_cause(each, found) for each in errors[:MOST_CAUSES]) or _met_by_opener(of),
        counted_over=found.counted_over if errors else "",
        more=sum(each.times for each in errors[MOST_CAUSES:]),
        unexplained=untold or found.unexplained,
        stake=stakes.stake,
        unstaked=f"not known: {unstaked}" if unstaked else stakes.unstaked,
        trend=trend or f"not known: {trendless}",
        sample=sample,
        unsampled="" if sample else UNSAMPLED.get(promise, untold or "no item of it is known"),
        flow_run_id=run,
        no_run="" if run else NO_RUN.get(promise, untold or "no run of it is known"),
    )


def _cause(met: ErrorCount, found: Found) -> Cause:
    """A note that stands alone was counted over nothing."""
    return Cause(error=met.error, times=met.times if found.counted_over or met.times > 1 else None)


def _met_by_opener(of: Incident) -> tuple[Cause, ...]:
    return (Cause(error=of.why),) if of.why else ()


def _alone(connection: Connection, ask: Callable[[], T], otherwise: T) -> tuple[T, str]:
    """What is asked for, or instead of it why it is not known."""
    try:
        with connection.begin_nested():
            return ask(), ""
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return otherwise, f"it could not be looked up ({type(error.orig).__name__})"


def _item_ids(errors: Sequence[ErrorCount]) -> list[ItemId]:
    return [each.item_id for each in errors if each.item_id is not None]


def _items(connection: Connection, ids: Sequence[ItemId]) -> list[tuple[str, str]]:
    """Those of the most frequent error first."""
    some = list(ids[:SAMPLES])
    return (
        [(row.workload, row.key) for row in connection.execute(text(ITEMS), {"ids": some})]
        if some
        else []
    )


def _run_of(connection: Connection, of: Incident, found: Found) -> UUID | None:
    """The run that met it, else the one whose log tells of the newest error, or the one that submitted the batch."""
    if of.flow_run_id is not None:
        return of.flow_run_id
    if of.promise == Promise.APPROVAL_WAITS:
        return rollouts.newest_run_of(connection, of.workload)
    batch_id = causes.batch_of(of)
    own = None
    if batch_id is not None and (of.promise in OWN_RUN or found.flow_run_id is None):
        own = connection.execute(text(RUN_OF_BATCH), {"id": batch_id}).scalar_one_or_none()
    return own or found.flow_run_id
