"""The decisions about a replay: compare, promote, demote, drop, pause and resume."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, delete, func, or_, select, text, true, update

from lanes.errors import ActionRefused
from lanes.rollouts.replays import (
    Answers,
    Diff,
    Generation,
    check_demotable,
    check_droppable,
    check_promotable,
    diff,
    resumes,
)
from lanes.store import outbox
from lanes.store.database import LOCK_PATIENCE, limit_waits
from lanes.store.outbox import EventOut
from lanes.store.replays import replays
from lanes.store.settling.writing import MOST_READERS
from lanes.store.signals import wake
from lanes.store.statements import is_
from lanes.store.tables import generation, item, label, promoted, read, result, work
from lanes.store.work import ready_again
from lanes.store.workload.workloads import one
from lanes.words import OPEN_REPLAY, LabelBasis, ReplayState, WorkState

AT_ONCE = 500  # rows fetched at once during a comparison
# The worker's name in claims that keep a paused replay's work from the lanes.
HELD = "a paused replay"
FOR_EVER = timedelta(days=36_500)

# A single statement, because it promotes 100,000 items in less than a second. The memory is for its trigger.
MEMORY = "set local work_mem = '128MB'"
PROMOTE = """
with changed as (
  update lanes.item i set result_id = r.id
    from lanes.result r
   where i.workload = :workload and i.settled_at is not null and i.canceled_at is null and i.result_id is not null
     and i.position <= :last
     and r.item_id = i.id and r.generation = :number and r.generation > 0 and r.revision = i.revision
  returning i.id, old.result_id as before_id, r.id as after_id)
insert into lanes.promoted (generation_id, item_id, before_id, after_id)
select :id, id, before_id, after_id from changed
"""


def compare(connection: Connection, replay: Generation) -> Diff:
    """Return the changes to the current results by the replay's answers so far, or by its promotion if it is promoted."""
    spec = one(connection, replay.version_id).spec
    return diff(_answers(connection, replay), spec.compare_fields, spec.output_schema)


def choose(
    connection: Connection, name: str, number: int | None, *, preferred: tuple[ReplayState, ...]
) -> Generation:
    """Return the workload's generation with this number; without one, its newest in a preferred state, or its newest.

    Raises:
        ActionRefused: the workload has no such replay.
    """
    if number is not None:
        id_ = connection.execute(
            select(generation.c.id).where(
                generation.c.workload == name, generation.c.number == number
            )
        ).scalar_one_or_none()
        if id_ is None:
            raise ActionRefused(
                f'workload "{name}" has no generation {number}; see lanes.replay_log'
            )
        return replays.get(connection, id_)
    found = replays.find(connection, name, states=preferred) or replays.find(connection, name)
    if found is None:
        raise ActionRefused(f'workload "{name}" was never replayed; `lanes replay {name}` does it')
    return found


def promotable(
    connection: Connection, name: str, number: int | None = None, *, now: datetime
) -> Generation:
    """Return the replay that `promote` would promote now.

    Raises:
        ActionRefused: the replay has open work, or is not complete.
    """
    replays.finish(connection, now=now)
    replay = _lock(connection, choose(connection, name, number, preferred=OPEN_REPLAY))
    check_promotable(replay, replays.open_work(connection, replay))
    return replay


def promote(
    connection: Connection, name: str, number: int | None = None, *, now: datetime
) -> tuple[Generation, int]:
    """Make the replay's results current, store the results that they replace, and return the number of changed items.

    Only settled items of the replayed revision change: items that are open or have been amended since keep their live result.

    Raises:
        ActionRefused: the replay has open work, or is not complete.
        StillLocked: another open transaction holds one of its items.
    """
    replay = promotable(connection, name, number, now=now)
    given = {
        "workload": replay.workload,
        "number": replay.number,
        "id": replay.id,
        "last": replay.to_position,
    }
    with limit_waits(connection, LOCK_PATIENCE):
        _cancel(connection, replay, now)  # shadows
        connection.execute(text(MEMORY))
        changed = connection.execute(text(PROMOTE), given).rowcount
    _tell(connection, replay, ReplayState.PROMOTED, changed, now=now)
    _move(connection, replay, ReplayState.PROMOTED, promoted_at=now)
    return replays.get(connection, replay.id), changed


def demotable(connection: Connection, name: str, number: int | None = None) -> Generation:
    """Return the replay that `demote` would demote.

    Raises:
        ActionRefused: the replay is not promoted, or another one was promoted after it.
    """
    replay = _lock(connection, choose(connection, name, number, preferred=(ReplayState.PROMOTED,)))
    check_demotable(replay, _find_promoted_later(connection, replay))
    return replay


def demote(
    connection: Connection, name: str, number: int | None = None, *, now: datetime
) -> tuple[Generation, int]:
    """Make the results before the promotion current again, and return the number of changed items.

    An item with a newer result keeps it.

    Raises:
        ActionRefused: the replay is not promoted, or another one was promoted after it.
        StillLocked: another open transaction holds one of its items.
    """
    replay = demotable(connection, name, number)
    mine = and_(promoted.c.generation_id == replay.id, promoted.c.item_id == item.c.id)
    with limit_waits(connection, LOCK_PATIENCE):
        restored = connection.execute(
            update(item)
            .where(mine, item.c.result_id == promoted.c.after_id)
            .values(result_id=promoted.c.before_id)
            .returning(item.c.id)
        ).all()
    _tell(connection, replay, ReplayState.DEMOTED, len(restored), now=now)
    connection.execute(delete(promoted).where(promoted.c.generation_id == replay.id))
    _move(connection, replay, ReplayState.DEMOTED, demoted_at=now)
    return replays.get(connection, replay.id), len(restored)


def drop(
    connection: Connection, name: str, number: int | None = None, *, now: datetime
) -> tuple[Generation, int]:
    """Drop the replay, cancel its open work, and return the number of canceled work rows.

    Work in a batch is still billed and recorded, but never shown.

    Raises:
        ActionRefused: the replay is promoted, or was dropped before.
        StillLocked: another open transaction holds some of its work.
    """
    replay = _lock(
        connection, choose(connection, name, number, preferred=(*OPEN_REPLAY, ReplayState.DEMOTED))
    )
    check_droppable(replay)
    with limit_waits(connection, LOCK_PATIENCE):
        canceled = _cancel(connection, replay, now)
    _move(connection, replay, ReplayState.DROPPED, dropped_at=now, paused_at=None)
    return replays.get(connection, replay.id), canceled


def pause(connection: Connection, name: str, *, now: datetime) -> str:
    """Pause the workload's replay until it is resumed: no further calls start, and answers in flight are collected.

    Raises:
        ActionRefused: the workload has no running replay.
    """
    replay = _lock(connection, choose(connection, name, None, preferred=OPEN_REPLAY))
    if replay.state is not ReplayState.RUNNING:
        raise ActionRefused(f"{replay.name} is {replay.state}: only a running replay can be paused")
    if replay.paused_at is None:
        _move(connection, replay, replay.state, paused_at=now)
        hold(connection, now=now)
    return f"{replay.name} is paused: {resumes(replay)}"


def hold(connection: Connection, *, now: datetime) -> None:
    """Claim the ready work of paused replays, including work that was given back or failed since, so that no lane claims it."""
    paused = select(generation.c.id).where(generation.c.paused_at.is_not(None))
    # A replay that is being resumed is skipped: its work would stay claimed for ever.
    locked = paused.with_for_update(key_share=True, skip_locked=True)
    ids = connection.execute(locked).scalars().all()
    if not ids:
        return
    waits = (
        select(work.c.id)
        .select_from(work.join(generation, replays.match_generation()))
        .where(generation.c.id.in_(ids), is_(work.c.state, WorkState.READY))
    )
    held = {"claimed_by": HELD, "claim_no": work.c.claim_no + 1, "lease_until": now + FOR_EVER}
    rows = waits.with_for_update(of=work, key_share=True, skip_locked=True).cte("waits")
    connection.execute(
        update(work).where(work.c.id == rows.c.id).values(state=WorkState.CLAIMED, **held)
    )


def resume(connection: Connection, name: str, *, now: datetime) -> str:
    """Resume the workload's paused replay; work of items that were canceled or amended since is canceled.

    Raises:
        ActionRefused: the workload has no paused replay.
    """
    replay = _lock(connection, choose(connection, name, None, preferred=OPEN_REPLAY))
    if replay.paused_at is None:
        raise ActionRefused(f"{replay.name} is not paused")
    _move(connection, replay, replay.state, paused_at=None)
    free = {"ready_at": now, "waits_since": now, "claimed_by": None, "lease_until": None}
    connection.execute(
        update(work)
        .where(replays.match_open_work(replay), work.c.claimed_by == HELD)
        .values(state=ready_again(), **free)
    )
    wake(connection)
    rest = (
        "" if replay.read_whole else "; ask for the same replay again, it reads on where it stopped"
    )
    return f"{replay.name} goes on{rest}"


def _answers(connection: Connection, replay: Generation) -> Iterator[Answers]:
    shown, replayed = result.alias("shown"), result.alias("replayed")
    right = (
        select(label.c.expected)
        .where(label.c.item_id == item.c.id, label.c.basis != LabelBasis.REVIEW)
        .order_by(label.c.labeled_at.desc(), label.c.id.desc())
        .limit(1)
        .lateral("right")
    )
    before = (
        select(promoted.c.before_id)
        .where(promoted.c.generation_id == replay.id, promoted.c.item_id == item.c.id)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(item.c.key, shown.c.output, replayed.c.output.label("answer"), right.c.expected)
        .join(
            replayed, and_(replayed.c.item_id == item.c.id, replayed.c.revision == item.c.revision)
        )
        .join(shown, shown.c.id == func.coalesce(before, item.c.result_id))
        .outerjoin(right, true())
        .where(
            item.c.workload == replay.workload,
            replayed.c.generation == replay.number,
            item.c.emptied_at.is_(None),
        )
        .order_by(item.c.position)
        .execution_options(yield_per=AT_ONCE)
    )
    for row in rows:
        yield Answers(row.key, row.output, row.answer, row.expected)


def _lock(connection: Connection, of: Generation) -> Generation:
    connection.execute(
        select(generation.c.id).where(generation.c.id == of.id).with_for_update(key_share=True)
    )
    return replays.get(connection, of.id)


def _find_promoted_later(connection: Connection, replay: Generation) -> int | None:
    mine = select(generation.c.promoted_at).where(generation.c.id == replay.id).scalar_subquery()
    return connection.execute(
        select(generation.c.number)
        .where(
            generation.c.workload == replay.workload,
            generation.c.state == ReplayState.PROMOTED,
            generation.c.id != replay.id,
            or_(
                generation.c.promoted_at > mine,
                and_(generation.c.promoted_at == mine, generation.c.id > replay.id),
            ),
        )
        .order_by(generation.c.promoted_at.desc())
        .limit(1)
    ).scalar_one_or_none()


def _tell(
    connection: Connection, replay: Generation, state: ReplayState, changed: int, *, now: datetime
) -> None:
    """Emit the event of a promotion or demotion, with up to `MOST_READERS` readers of an answer that it replaces."""
    replaced = promoted.c.before_id if state is ReplayState.PROMOTED else promoted.c.after_id
    readers = (
        select(read.c.reader)
        .join(promoted, and_(promoted.c.item_id == read.c.item_id, replaced == read.c.result_id))
        .where(promoted.c.generation_id == replay.id)
        .distinct()
        .order_by(read.c.reader)
        .limit(MOST_READERS)
    )
    names = [*connection.execute(readers).scalars()]
    says = {
        "generation": replay.number,
        "version": replay.version,
        "items": changed,
        "readers": names,
    }
    event = EventOut.about_workload(f"lanes.replay.{state}", replay.workload, says)
    outbox.add(connection, [event], now=now)


def _cancel(connection: Connection, of: Generation, now: datetime) -> int:
    """Cancel the replay's open work, and return the number of canceled work rows."""
    ended = {"state": WorkState.CANCELED, "finished_at": now}
    return connection.execute(
        update(work).where(replays.match_open_work(of)).values(ended)
    ).rowcount


def _move(
    connection: Connection, of: Generation, state: ReplayState, **moments: datetime | None
) -> None:
    connection.execute(
        update(generation).where(generation.c.id == of.id).values(state=state, **moments)
    )
