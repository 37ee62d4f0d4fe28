"""Replays: the stream is read again in chunks, each committed with its cursor, so that a killed reader can be continued."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert

from lanes.errors import ActionRefused, StillLocked, UnknownWorkload
from lanes.ids import GenerationId, ItemId
from lanes.packing import AFTER_ALL_LIVE_WORK, AFTER_LIVE_WORK, history_chars
from lanes.realtime.pace import YIELDS
from lanes.rollouts.replays import EVERYTHING, Generation, Preview, Selection, resumes
from lanes.routing.room import Room
from lanes.routing.split import is_sampled
from lanes.store.asking import read_as
from lanes.store.database import LOCK_PATIENCE, limit_waits
from lanes.store.money import sharing
from lanes.store.realtime import load
from lanes.store.replays import selecting
from lanes.store.routing import turnarounds
from lanes.store.signals import wake
from lanes.store.statements import is_, is_among, one_of
from lanes.store.states import is_open_work
from lanes.store.tables import generation, item, version, work
from lanes.store.workload import accounts, workloads
from lanes.units import pluralize
from lanes.words import OPEN_REPLAY, Lane, Purpose, ReplayState, Signature, WorkState
from lanes.workload.version import Version

CHUNK = 1000  # items that get their work in one transaction
# Written as a literal, like in the index, so that generic plans use the index.
IS_REPLAY = work.c.generation > sa.literal_column("0")


def preview(
    connection: sa.Connection,
    name: str,
    *,
    version_no: int | None,
    first: int | None,
    last: int | None,
    now: datetime,
    selection: Selection = EVERYTHING,
) -> Preview:
    """Return which items such a replay would process or skip and what it would cost, without writing anything.

    Raises:
        UnknownWorkload, ActionRefused: there is no such workload or version, the selection cannot be evaluated, or items of a
            whole range were emptied.
    """
    selection.check()
    by = _version(connection, name, version_no)
    first, last = first or 1, _last(connection, name, last)
    _refuse_emptied(connection, name, first, last, selection)
    result = Preview(name, by.number, first, last)
    cursor, estimates = first - 1, sharing.estimates(connection, now=now)
    while cursor < last:
        part = selecting.part(connection, by, selection, cursor, last, limit=CHUNK)
        lengths = selecting.lengths(connection, part.asked, by)
        for row in part.asked:
            each = estimates.of(by, row.length, history_chars(lengths.get(row.id, ())))
            result.realtime_usd += each.realtime
            result.batch_usd += each.batch
        result.items += len(part.asked)
        result.skipped += part.skipped
        result.erased += part.erased
        result.unmet += part.unmet
        result.unmet_because = result.unmet_because or part.unmet_because
        result.examples += [row.key for row in part.asked[: 3 - len(result.examples)]]
        cursor = part.end
    _expect(connection, result, by, now)
    return result


def _expect(connection: sa.Connection, result: Preview, by: Version, now: datetime) -> None:
    """Set when the replay would end on each lane, with the confidence that its version requires."""
    result.probability, sharing_ = by.spec.confidence, sharing.read_cached(connection, now=now)
    requests = -(-result.items // sharing_.pack_of(by, Lane.BATCH))
    prospect = turnarounds.prospects(connection, now=now).for_size(by, max(1, requests))
    result.ends[Lane.BATCH] = prospect.presses_until
    lane = load.snapshot(connection, accounts.read_account(connection, by.workload), now=now)
    asked = load.live_per_s(connection, result.probability, now=now)
    free = min(lane.per_s * YIELDS, lane.per_s - asked)
    if free > 0:
        takes_s = Room(lane, sharing_).takes_s(by, result.items) * lane.per_s / free
        result.ends[Lane.REALTIME] = now + timedelta(seconds=takes_s)


def begin(
    connection: sa.Connection,
    name: str,
    *,
    version_no: int | None,
    first: int | None,
    last: int | None,
    by: Signature,
    selection: Selection = EVERYTHING,
) -> Generation:
    """Return the workload's open replay: a new one, or an equal one whose reader no longer runs.

    Version, range and selection default to those of the open replay.

    Raises:
        UnknownWorkload, ActionRefused: there is no such workload or version, the selection cannot be evaluated, there are no
            items to read, the items were emptied, or another replay is open.
    """
    selection.check()
    workloads.lock(connection, name)
    version_ = _version(connection, name, version_no)
    present = find(connection, name, states=OPEN_REPLAY)
    if present is not None:
        alike = (
            version_no in (None, present.version)
            and first in (None, present.from_position)
            and (last is None or last >= present.to_position)
            and selection in (EVERYTHING, present.selection)
        )
        if alike and not present.read_whole and present.paused_at is None:
            return present
        if present.paused_at is not None:
            raise ActionRefused(f"{present.name} is paused: {resumes(present)}, or drop it")
        with_those = f", {conditions}" if (conditions := present.selection.conditions) else ""
        raise ActionRefused(
            f"{present.name} is {present.state} (positions {present.from_position} to {present.to_position}, version "
            f"{present.version}{with_those}); promote or drop it before another replay"
        )
    if last is not None and (first or 1) > last:
        raise ActionRefused(
            f"position {first or 1} is after position {last}: nothing to replay; name the lower one first"
        )
    first, last = first or 1, _last(connection, name, last)
    if first > last:
        newest = f"its newest is at position {last}" if last else "it has none"
        raise ActionRefused(
            f'workload "{name}" has no items from position {first} on, {newest}: nothing to replay'
        )
    there = sa.exists().where(selecting.match_items(version_, selection, first - 1, last))
    if not selection.conditions:
        there = there.where(item.c.canceled_at.is_(None))
    if not connection.execute(sa.select(there)).scalar_one():
        which = f" with {selection.conditions}" if selection.conditions else ""
        raise ActionRefused(
            f'workload "{name}" has no items at positions {first} to {last}{which}: nothing to replay'
        )
    _refuse_emptied(connection, name, first, last, selection)
    newest = sa.func.coalesce(sa.func.max(generation.c.number), 0)
    number = sa.select(newest + 1).where(generation.c.workload == name)
    connection.execute(
        sa.insert(generation).values(
            workload=name,
            number=number.scalar_subquery(),
            version_id=version_.id,
            state=ReplayState.RUNNING,
            from_position=first,
            to_position=last,
            cursor_position=first - 1,
            selection=selection.model_dump(mode="json", exclude_defaults=True),
            who=by.who,
            why=by.why,
            created_at=by.now,
        )
    )
    replay = find(connection, name, states=OPEN_REPLAY)
    assert replay is not None
    return replay


def read_some(
    connection: sa.Connection, id: GenerationId, *, limit: int = CHUNK, now: datetime
) -> Generation:
    """Create the work of the next items of the range, move the cursor past them, and return the replay.

    A replay that has been dropped or paused is returned unchanged.
    """
    row = sa.select(generation.c.id).where(generation.c.id == id)
    connection.execute(row.with_for_update(key_share=True)).one()
    replay = get(connection, id)
    if replay.state is not ReplayState.RUNNING or replay.read_whole or replay.paused_at is not None:
        return replay
    by, rest = (
        workloads.one(connection, replay.version_id),
        (replay.cursor_position, replay.to_position),
    )
    part = selecting.part(connection, by, replay.selection, *rest, limit=limit)
    added = _owe(connection, replay, [row.id for row in part.asked], now) if part.asked else 0
    counts = {"items": replay.items + added, "skipped": replay.skipped + part.skipped}
    counts |= {"erased": replay.erased + part.erased, "cursor_position": part.end}
    connection.execute(sa.update(generation).where(generation.c.id == id).values(counts))
    return get(connection, id)


def shadow(connection: sa.Connection, *, now: datetime) -> None:
    """Create shadow work of open replays for their share of the items after their ranges; the live version answers these too.

    A replay that is being promoted or dropped is skipped.
    """
    wants = generation.c.selection.op("?")("shadow"), generation.c.paused_at.is_(None)
    read = generation.c.cursor_position >= generation.c.to_position
    asking = _generations().where(is_among(generation.c.state, OPEN_REPLAY), read, *wants)
    free = asking.with_for_update(of=generation, key_share=True, skip_locked=True)
    for replay in map(_generation, connection.execute(free).all()):
        by, chosen = workloads.one(connection, replay.version_id), replay.selection
        last = _last(connection, replay.workload, None)
        part = selecting.part(connection, by, chosen, replay.cursor_position, last, limit=CHUNK)
        taken = [row.id for row in part.asked if is_sampled(replay.name, row.key, chosen.shadow)]
        _owe(connection, replay, taken, now)
        moved = sa.update(generation).where(generation.c.id == replay.id)
        connection.execute(moved.values(cursor_position=max(part.end, replay.cursor_position)))


def finish(connection: sa.Connection, *, now: datetime) -> list[Generation]:
    """Complete the replays whose last work has ended, not counting shadows, and return each replay once."""
    still_open = sa.exists().where(
        match_generation(), is_open_work(), _is_within(generation.c.to_position)
    )
    done = connection.execute(
        sa.update(generation)
        .where(
            is_(generation.c.state, ReplayState.RUNNING),
            generation.c.cursor_position >= generation.c.to_position,
            ~still_open,
        )
        .values(state=ReplayState.COMPLETE, completed_at=now)
        .returning(generation.c.id)
    )
    return [get(connection, id_) for id_ in done.scalars().all()]


def open_work(connection: sa.Connection, of: Generation) -> int:
    """Count the replay's work that has not ended, not counting shadows."""
    rows = sa.select(sa.func.count()).select_from(work)
    count = rows.where(match_open_work(of), _is_within(of.to_position))
    return connection.execute(count).scalar_one()


def _is_within(to_position: Any) -> sa.ColumnElement[bool]:
    return sa.exists().where(item.c.id == work.c.item_id, item.c.position <= to_position)


def match_open_work(of: Generation) -> sa.ColumnElement[bool]:
    """Match the replay's work that has not ended."""
    mine = sa.and_(work.c.workload == of.workload, work.c.generation == of.number, IS_REPLAY)
    return sa.and_(mine, is_open_work())


def get(connection: sa.Connection, id: GenerationId) -> Generation:
    """Return the replay with this id."""
    return _generation(connection.execute(_generations().where(generation.c.id == id)).one())


def find(
    connection: sa.Connection, name: str, *, states: tuple[ReplayState, ...] = tuple(ReplayState)
) -> Generation | None:
    """Return the workload's newest replay in one of these states, if any."""
    row = connection.execute(
        _generations()
        .where(generation.c.workload == name, is_among(generation.c.state, states))
        .order_by(generation.c.number.desc())
        .limit(1)
    ).first()
    return None if row is None else _generation(row)


def match_generation() -> Any:
    """Match work that belongs to the joined row of `generation`."""
    same = work.c.workload == generation.c.workload, work.c.generation == generation.c.number
    return sa.and_(*same, IS_REPLAY)


def _generations() -> sa.Select[Any]:
    number = version.c.number.label("version_no")
    return sa.select(generation, number).join(version, version.c.id == generation.c.version_id)


def _generation(row: Any) -> Generation:
    selection = Selection.model_validate(row.selection)
    return read_as(Generation, row, version=row.version_no, selection=selection)


def _refuse_emptied(
    connection: sa.Connection, name: str, first: int, last: int, selection: Selection
) -> None:
    """Check that no item of a whole range was emptied; a selection skips and counts such items instead.

    Raises:
        ActionRefused: some items were emptied because of their age; the message names the first position after them.
    """
    if selection.conditions:
        return
    items, newest = sa.func.count().label("items"), sa.func.max(item.c.position).label("newest")
    within = item.c.workload == name, item.c.position.between(first, last)
    emptied = sa.select(items, newest).where(*within, item.c.emptied_at.is_not(None))
    found = connection.execute(emptied).one()
    if found.items:
        raise ActionRefused(
            f'{pluralize(found.items, "item")} of "{name}" at positions {first} to {found.newest} were emptied or archived by '
            "their age (keep_payload_days, archive_after_days): there is nothing to read again; "
            f"replay from position {found.newest + 1} on"
        )


def _owe(
    connection: sa.Connection, replay: Generation, ids: Sequence[ItemId], now: datetime
) -> int:
    """Create replay work for the items' newest revisions, and return the number of created rows.

    The items are locked against amendments and cancellations. If another transaction changes one of them and does not end, the
    work is for the committed revision: an answer to an older revision is never shown.
    """
    wanted = (
        sa.select(item.c.id, item.c.revision)
        .where(one_of(ids, item.c.id), item.c.canceled_at.is_(None))
        .order_by(item.c.id)
    )
    try:
        with limit_waits(connection, LOCK_PATIENCE):
            standing = connection.execute(wanted.with_for_update(read=True)).all()
    except StillLocked:
        standing = connection.execute(wanted).all()
    if not standing:
        return 0
    if replay.lane is Lane.REALTIME:
        wake(connection)
    rows = upsert(work).on_conflict_do_nothing().returning(work.c.id)
    return len(connection.execute(rows, [_work(replay, row, now) for row in standing]).all())


def _work(replay: Generation, row: Any, now: datetime) -> dict[str, Any]:
    return {
        "item_id": row.id,
        "workload": replay.workload,
        "version_id": replay.version_id,
        "lane": replay.lane,
        "purpose": Purpose.REPLAY,
        "revision": row.revision,
        "generation": replay.number,
        "state": WorkState.READY,
        "ready_at": now,
        "rank_at": now + (AFTER_LIVE_WORK if replay.lane is Lane.BATCH else AFTER_ALL_LIVE_WORK),
        "waits_since": now,
    }


def _version(connection: sa.Connection, name: str, number: int | None) -> Version:
    """Return this version of the workload, or the one in force if `number` is None."""
    known = workloads.current_id(connection, name)
    if known is None:
        raise UnknownWorkload(workloads.UNPUBLISHED.format(name))
    wanted = version.c.id == known if number is None else version.c.number == number
    its_id = sa.select(version.c.id).where(version.c.workload == name, wanted)
    id_ = connection.execute(its_id).scalar_one_or_none()
    if id_ is None:
        most = sa.select(sa.func.max(version.c.number)).where(version.c.workload == name)
        raise ActionRefused(
            f'workload "{name}" has no version {number}; its versions are 1 to {connection.execute(most).scalar_one()}'
        )
    return workloads.one(connection, id_)


def _last(connection: sa.Connection, name: str, asked: int | None) -> int:
    """Return the last position of the range, at most that of the workload's newest item."""
    newest = sa.select(sa.func.max(item.c.position)).where(item.c.workload == name)
    end = connection.execute(newest).scalar_one() or 0
    return end if asked is None else min(asked, end)
