"""Golden sets: the labeled items that a new version answers before it is in force, one file because set and runs share tables.

A golden item is a row of `item` that no consumer sees. The row names a workload that does not exist (such as `letters/golden`):
its key cannot collide with a consumer's key, no router reads it, and no figure of the workload counts it. Its position is
negative. Its work and its bills belong to the real workload.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, text

from lanes import json_data
from lanes.doors.filedoor import FileLine
from lanes.errors import SpecInvalid, UnknownWorkload
from lanes.ids import GoldenId, ItemId, VersionId, WorkId
from lanes.packing import AFTER_LIVE_WORK
from lanes.store import signals
from lanes.store.asking import read_as
from lanes.store.statements import document_of
from lanes.store.states import OPEN_WORK
from lanes.store.workload import workloads
from lanes.store.workload.candidates import has_canary
from lanes.words import GoldenState, Lane
from lanes.workload.answer_check import AnswerCheck
from lanes.workload.definition import content_hash
from lanes.workload.golden import SHOWN, GoldenRun, GoldenScore, label_check, label_faults, score
from lanes.workload.version import Spec

HIDDEN = "/golden"  # appended to the workload's name, which cannot contain a slash

SCREENED = """
select place, key, payload, encode(content_hash, 'hex') as hash, refusal, detail
  from lanes.screened(cast(:rows as jsonb)) order by place
"""
PRESENT = """
select g.key, encode(i.content_hash, 'hex') as hash, g.expected
  from lanes.golden_item g join lanes.item i on i.id = g.item_id
 where g.workload = :workload and g.removed_at is null and g.key = any(:keys)
"""
REMOVE = """
update lanes.golden_item set removed_at = :now
 where workload = :workload and removed_at is null and key = any(:keys) returning key
"""
# Equal content reuses its item, and so the item's stored answers; erased content is written again.
ADD = """
with given as (
  select g.*, nextval('lanes.item_id_seq') as number
    from jsonb_to_recordset(cast(:rows as jsonb)) g (key text, payload jsonb, hash text, expected jsonb)),
kept as (
  insert into lanes.item (id, workload, key, payload, content_hash, position, occurred_at, received_at, source)
  overriding system value
  select number, :hidden, key || '@' || left(hash, 12), payload, decode(hash, 'hex'), -number, :now, :now, 'golden' from given
  on conflict (workload, key) do update
    set payload = excluded.payload, emptied_at = null, canceled_at = null, forgotten_at = null
  returning id, key)
insert into lanes.golden_item (workload, key, item_id, expected, who, added_at)
select :workload, g.key, k.id, g.expected, :who, :now
  from given g join kept k on k.key = g.key || '@' || left(g.hash, 12)
"""
# An item that was removed from the set is erased once no run needs it.
GONE = """
delete from lanes.golden_item g
 where g.workload = :workload and g.removed_at is not null
   and not exists (select from lanes.golden_run r
                    where r.workload = g.workload and r.state = 'running' and g.id = any(r.golden))
returning g.item_id
"""
UNUSED = """
select i from unnest(cast(:items as bigint[])) i where not exists (select from lanes.golden_item g where g.item_id = i)
"""
ERASE = (
    "update lanes.item set payload = '{}', emptied_at = :now where id = any(:items)",
    "delete from lanes.golden_answer where item_id = any(:items)",
    "update lanes.attempt set error = null where item_id = any(:items) and error is not null",
)
LISTED = """
select g.id, g.key, i.payload, g.expected, g.who, g.added_at
  from lanes.golden_item g join lanes.item i on i.id = g.item_id
 where g.workload = :workload and g.removed_at is null order by g.key
"""
UNFIT = """
select g.key, g.expected, (lanes.input_refusal(cast(:schema as jsonb), g.workload, i.payload))[2] as refusal
  from lanes.golden_item g join lanes.item i on i.id = g.item_id
 where g.workload = :workload and g.removed_at is null order by g.key
"""
RUNS = """
select r.id, r.workload, r.version_id, v.number as version, v.hash, r.before_id, b.number as before, r.lane, r.state,
       cardinality(r.golden) as items, r.began_at, r.ended_at, r.right_now, r.right_before, r.lost, r.lost_keys,
       w.version_id is null as is_first,
       (select count(*) from lanes.golden_item g
          join lanes.golden_answer a on a.item_id = g.item_id and a.version_id = r.version_id and a.lane = r.lane
         where g.id = any(r.golden)) as answered
  from lanes.golden_run r join lanes.workload w on w.name = r.workload join lanes.version v on v.id = r.version_id
  left join lanes.version b on b.id = r.before_id
"""
BEGIN = """
insert into lanes.golden_run (workload, version_id, before_id, lane, state, golden, began_at)
select :workload, :version, cast(:before as bigint), :lane, 'running',
       array(select id from lanes.golden_item where workload = :workload and removed_at is null order by id), :now
returning id
"""
OWE = """
insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, generation, state, ready_at, rank_at,
                        waits_since)
select g.item_id, g.workload, v.id, r.lane, 'golden', i.revision, -v.number, 'ready', :now, :rank_at, :now
  from lanes.golden_run r
  join lanes.golden_item g on g.id = any(r.golden)
  join lanes.item i on i.id = g.item_id
  join lanes.version v on v.id in (r.version_id, r.before_id)
 where r.id = :run
   and not exists (select from lanes.golden_answer a where a.item_id = i.id and a.version_id = v.id and a.lane = r.lane)
 order by v.id, g.id
on conflict do nothing
"""
OVER = f"""
select r.id, r.workload from lanes.golden_run r
 where r.state = 'running' and not exists (
   select from lanes.golden_item g join lanes.work w on w.item_id = g.item_id
    where g.id = any(r.golden) and w.version_id in (r.version_id, r.before_id) and w.lane = r.lane and w.purpose = 'golden'
      and w.state in {OPEN_WORK})
 order by r.id
"""
ANSWERS = """
select g.key, g.expected, n.output as now, b.output as before
  from lanes.golden_run r
  join lanes.golden_item g on g.id = any(r.golden)
  left join lanes.golden_answer n on n.item_id = g.item_id and n.version_id = r.version_id and n.lane = r.lane
  left join lanes.golden_answer b on b.item_id = g.item_id and b.version_id = r.before_id and b.lane = r.lane
 where r.id = :run order by g.key
"""
END = """
update lanes.golden_run
   set state = :state, ended_at = :now, right_now = :right_now, right_before = :right_before,
       lost = :lost, lost_keys = :lost_keys
 where id = :run
"""
# The ready work of a replaced run is canceled; its calls and batches in progress are still billed.
CANCEL = """
with waits as (
  select w.id from lanes.golden_run r
    join lanes.golden_item g on g.id = any(r.golden)
    join lanes.work w on w.item_id = g.item_id and w.purpose = 'golden' and w.state = 'ready'
   where r.id = :run order by w.id for no key update of w skip locked)
update lanes.work w set state = 'canceled', finished_at = :now from waits where w.id = waits.id
"""
KEEP = """
insert into lanes.golden_answer (item_id, version_id, lane, output, answered_at)
select w.item_id, w.version_id, w.lane, g.output, :now
  from jsonb_to_recordset(cast(:rows as jsonb)) g (id bigint, output jsonb)
  join lanes.work w on w.id = g.id
  join lanes.item i on i.id = w.item_id and i.emptied_at is null and i.forgotten_at is null
on conflict do nothing
"""


@dataclass(frozen=True)
class GoldenItem:
    """An item of a golden set."""

    id: GoldenId
    key: str
    payload: Mapping[str, Any]
    expected: Mapping[str, Any]
    who: str
    added_at: datetime


@dataclass(frozen=True)
class GoldenLine:
    """The outcome of a line: `added`, `replaced`, `duplicate`, or the reason for a refusal, explained in `detail`."""

    place: str
    key: str | None
    outcome: str
    detail: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether the line was refused, and is not in the set."""
        return self.outcome not in ("added", "replaced", "duplicate")


@dataclass(frozen=True)
class PublishOptions:
    """A person's options for publishing: the lane that answers the golden set, or `force` to skip the golden run."""

    lane: Lane = Lane.BATCH
    force: bool = False


@dataclass(frozen=True)
class PublishReply:
    """The outcome of publishing a definition: `moved` if anything changed, or why the version does not come into force."""

    moved: bool = False
    refusal: str | None = None


def add(
    connection: Connection,
    name: str,
    lines: Sequence[FileLine],
    *,
    spec: Spec | None = None,
    who: str,
    now: datetime,
) -> list[GoldenLine]:
    """Add labeled lines to the workload's golden set and return the outcome of each; a line replaces the item with its key.

    The lines must fit `spec`, which is stored here and about to be published; without `spec`, they must fit the version in
    force.

    Raises:
        UnknownWorkload: `spec` is not given, and the workload has no version in force.
        SpecInvalid: the version in force is unreadable.
        ActionRefused: `spec` is given, and a canary is open.
    """
    if spec is not None:
        version = workloads.store(connection, name, spec, now=now)
    else:
        workloads.check_known(connection, name)
        workloads.lock(connection, name)
        version = workloads.current(connection, name)
    if version is None:
        first = "publish it, with `--golden-set FILE` if this is its first"
        raise UnknownWorkload(f'workload "{name}" has no version in force; {first}')
    previous_id = workloads.current_id(connection, name)
    # The SQL function screens by the version in force, so put this version in force for this query alone.
    workloads.write(connection, name, version_id=version.id)
    rows = json_data.dumps([each.submission.as_row() for each in lines])
    screened = connection.execute(text(SCREENED), {"rows": rows}).all() if lines else []
    workloads.write(connection, name, version_id=previous_id)
    parameters = {"workload": name, "now": now}
    known = {"workload": name, "keys": [row.key for row in screened]}
    present = {row.key: row for row in connection.execute(text(PRESENT), known)}
    check, outcomes, new = (
        label_check(version.spec.output_schema),
        list[GoldenLine](),
        dict[str, Any](),
    )
    for line, row in zip(lines, screened, strict=True):
        place = line.submission.place
        if (refused := _refusal(line, row, version.spec, check, new)) is not None:
            outcomes.append(GoldenLine(place, row.key, *refused))
            continue
        before = present.get(row.key)
        is_same = (
            before is not None and before.hash == row.hash and before.expected == line.expected
        )
        outcome = "duplicate" if is_same else "replaced" if before else "added"
        outcomes.append(GoldenLine(place, row.key, outcome))
        content = {"payload": row.payload, "hash": row.hash, "expected": line.expected}
        new[row.key] = None if is_same else {"key": row.key, **content}
    added = [each for each in new.values() if each is not None]
    if added:
        connection.execute(text(REMOVE), {**parameters, "keys": [each["key"] for each in added]})
        given = {**parameters, "rows": document_of(added), "hidden": name + HIDDEN, "who": who}
        connection.execute(text(ADD), given)
        _erase_gone(connection, name, now)
    return outcomes


def _refusal(
    line: FileLine, row: Any, spec: Spec, check: AnswerCheck, new: Mapping[str, Any]
) -> tuple[str, str] | None:
    """Return the reason for refusing a line and a sentence that explains it, or None if the line is accepted."""
    if row.refusal is not None:
        return row.refusal, row.detail
    if not line.expected:
        return "no_label", 'it has no label: write "label": {...}, or name its column with --label'
    faults = list(islice(label_faults(line.expected, spec.output_schema, check), SHOWN))
    if faults:
        return "label_mismatch", "; ".join(faults)
    if row.key in new:
        return "key_conflict", f'an earlier line of the file has the key "{row.key}" too'
    return None


def remove(connection: Connection, name: str, keys: Sequence[str], *, now: datetime) -> list[str]:
    """Remove items from the golden set and return the removed keys; a run that has begun still uses the items."""
    workloads.check_known(connection, name)
    workloads.lock(connection, name)
    of = {"workload": name, "keys": list(keys), "now": now}
    removed = list(connection.execute(text(REMOVE), of).scalars())
    _erase_gone(connection, name, now)
    return removed


def _erase_gone(connection: Connection, name: str, now: datetime) -> None:
    gone: list[ItemId] = list(connection.execute(text(GONE), {"workload": name}).scalars())
    unused = list(connection.execute(text(UNUSED), {"items": gone}).scalars()) if gone else []
    for statement in ERASE if unused else ():
        given = {"items": unused} | ({"now": now} if ":now" in statement else {})
        connection.execute(text(statement), given)


def list_items(connection: Connection, name: str) -> list[GoldenItem]:
    """Return the golden set of a workload, ordered by key."""
    rows = connection.execute(text(LISTED), {"workload": name})
    return [read_as(GoldenItem, row) for row in rows]


def runs(connection: Connection, name: str, *, most: int = 1) -> list[GoldenRun]:
    """Return up to `most` of the newest golden runs of a workload, newest first."""
    query = text(f"{RUNS} where r.workload = :workload order by r.id desc limit :most")
    return [_run(row) for row in connection.execute(query, {"workload": name, "most": most})]


def _run(row: Any) -> GoldenRun:
    found = None
    if row.right_now is not None:
        of = row.items, row.right_now, row.right_before, row.lost, row.lost_keys
        found = GoldenScore(*of)
    return read_as(GoldenRun, row, lane=Lane(row.lane), state=GoldenState(row.state), score=found)


def list_unfit(connection: Connection, name: str, spec: Spec) -> list[str]:
    """Return a sentence for each golden item that does not fit the definition: up to `SHOWN`, then the number of the others."""
    check, sentences = label_check(spec.output_schema), list[str]()
    of = {"workload": name, "schema": json_data.dumps(spec.input_schema or None)}
    for row in connection.execute(text(UNFIT), of):
        faults = [row.refusal] if row.refusal else []
        faults += label_faults(row.expected, spec.output_schema, check)
        sentences += [f'golden item "{row.key}": {"; ".join(faults[:SHOWN])}'] if faults else []
    more = len(sentences) - SHOWN
    return sentences[:SHOWN] + ([f"and {more} more golden items do not fit"] if more > 0 else [])


def publish(
    connection: Connection,
    name: str,
    spec: Spec,
    *,
    options: PublishOptions | None = None,
    now: datetime,
) -> PublishReply:
    """Put a definition in force; if the workload has a golden set, store it and begin a golden run that decides.

    The new run replaces an open one. Without options, a version with an open or refused run stays as it is.

    Raises:
        SpecInvalid: the golden set does not fit the definition.
        StillLocked: another transaction is publishing the workload and does not end in time.
        ActionRefused: a canary is open.
    """
    content = content_hash(spec)
    reply = _reply_unchanged(connection, name, spec, content, options)
    if reply is not None:
        return reply
    asked = options or PublishOptions()
    stays = workloads.is_in_force(connection, name, spec)
    if stays or asked.force or not list_items(connection, name):
        workloads.publish(connection, name, spec, now=now)
        workloads.lock(connection, name)
        _replace_open(connection, name, now)
        return PublishReply(moved=True)
    if problems := list_unfit(connection, name, spec):
        raise SpecInvalid(name, problems)
    version = workloads.store(connection, name, spec, now=now)
    # Check again: another publisher may have done the same while this one waited for the lock.
    reply = _reply_unchanged(connection, name, spec, content, options)
    if reply is not None:
        return reply
    _replace_open(connection, name, now)
    previous_id = _readable(connection, name)
    given = {"workload": name, "version": version.id, "before": previous_id}
    begun = connection.execute(text(BEGIN), {**given, "lane": asked.lane, "now": now})
    owed = {"run": begun.scalar_one(), "now": now, "rank_at": now + AFTER_LIVE_WORK}
    connection.execute(text(OWE), owed)
    if workloads.current_id(connection, name) is None:
        if asked.lane is Lane.BATCH:  # without a version in force, `depart` has no schedule for it
            workloads.write(connection, name, submit_at=now)
    elif (
        previous_id is None
    ):  # an unreadable version in force serves nothing and cannot be compared
        workloads.put_in_force(connection, name, version.id)
    signals.wake(connection)
    decide(connection, now=now, of=name)  # all answers may already be stored
    return PublishReply(moved=True)


def _readable(connection: Connection, name: str) -> VersionId | None:
    """Return the id of the version in force, or None if it is unreadable or missing."""
    try:
        found = workloads.current(connection, name)
    except SpecInvalid:
        return None
    return found and found.id


def _reply_unchanged(
    connection: Connection, name: str, spec: Spec, content: str, options: PublishOptions | None
) -> PublishReply | None:
    """Return the reply if publishing the definition changes nothing, else None."""
    newest = next(iter(runs(connection, name)), None)
    is_open = newest is not None and newest.state is GoldenState.RUNNING
    is_its = newest is not None and newest.hash == content
    if workloads.is_in_force(connection, name, spec):
        return PublishReply() if is_its or not is_open else None
    if newest is None or not is_its or (options is not None and options.force):
        return None
    if is_open and (options is None or options.lane is newest.lane):
        return PublishReply()
    if newest.state is GoldenState.REFUSED and options is None:
        return PublishReply(refusal=newest.sentence)
    return None


def _replace_open(connection: Connection, name: str, now: datetime) -> None:
    for each in runs(connection, name):
        if each.state is GoldenState.RUNNING:
            _replace(connection, each, now)


def _replace(connection: Connection, run: GoldenRun, now: datetime) -> None:
    connection.execute(text(CANCEL), {"run": run.id, "now": now})
    _end(connection, run, GoldenState.REPLACED, None, now)


def _end(
    connection: Connection,
    of: GoldenRun,
    state: GoldenState,
    golden_score: GoldenScore | None,
    now: datetime,
) -> None:
    given: dict[str, Any] = {"run": of.id, "state": state, "now": now}
    for name in ("right_now", "right_before", "lost", "lost_keys"):
        value = golden_score and getattr(golden_score, name)
        given[name] = list(value) if name == "lost_keys" and value is not None else value
    connection.execute(text(END), given)
    _erase_gone(connection, of.workload, now)


def decide(connection: Connection, *, now: datetime, of: str | None = None) -> list[GoldenRun]:
    """Evaluate the runs without open work, put versions that pass in force, and return the ended runs, each once.

    Raises:
        StillLocked: another transaction is publishing the workload of a run and does not end in time.
    """
    over = connection.execute(text(OVER)).all()
    decided: list[GoldenRun] = []
    for row in over:
        if of in (None, row.workload):
            workloads.lock(connection, row.workload)
            decided += _decide(connection, row.id, now)
    return decided


def _decide(connection: Connection, run_id: int, now: datetime) -> list[GoldenRun]:
    """Evaluate and end a run of a locked workload, if the run is still open."""
    query = text(f"{RUNS} where r.id = :run and r.state = 'running'")
    row = connection.execute(query, {"run": run_id}).first()
    if row is None:
        return []
    run = _run(row)
    id_in_force = workloads.current_id(connection, run.workload)
    # Another version was put in force, or an open canary compares one with the version in force.
    if id_in_force not in (run.before_id, run.version_id) or has_canary(connection, run.workload):
        _replace(connection, run, now)
    else:
        answers = connection.execute(text(ANSWERS), {"run": run.id})
        changes = [(each.key, each.expected, each.now, each.before) for each in answers]
        golden_score = score(changes, compares=run.before_id is not None)
        state = GoldenState.REFUSED if golden_score.is_worse else GoldenState.PASSED
        _end(connection, run, state, golden_score, now)
        if state is GoldenState.PASSED:
            workloads.put_in_force(connection, run.workload, run.version_id)
            signals.wake(connection)
    ended = connection.execute(text(f"{RUNS} where r.id = :run"), {"run": run.id}).one()
    return [_run(ended)]


def keep_answers(
    connection: Connection, answers: Sequence[tuple[WorkId, Any]], *, now: datetime
) -> None:
    """Store the answers of golden work; the first answer of an item, version and lane counts."""
    rows = [{"id": id_, "output": output} for id_, output in answers]
    connection.execute(text(KEEP), {"rows": document_of(rows), "now": now})
