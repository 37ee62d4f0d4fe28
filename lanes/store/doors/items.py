"""The doors: jobs, items and files admitted by the database's functions; amendments, refusals, labels and cancellation.

Watermarks record how far the event stream was read, and when the open batches were last checked.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert

from lanes import json_data
from lanes.doors.filedoor import Admitted, FileLine, Layout, line_weight, name_job, read_lines
from lanes.doors.item import KEY_LIMIT, Admission, Amendment, JobOrder, Refusal, Submission
from lanes.errors import Refused, UnknownItem
from lanes.json_data import replace_unstorable
from lanes.packing import MOST_BYTES, chunks
from lanes.store.database import OWN_PATIENCE, run_in_transaction
from lanes.store.statements import size_of
from lanes.store.tables import item, job, rejected, stored_span, watermark
from lanes.store.tables.base import Moment

CONTENT_LIMIT = 65_536  # characters of a refused input that are stored
CHUNK = 500  # lines of a file admitted in one transaction
REFUSE = sa.text("""
select lanes.refuse(:door, r.place, r.workload, nullif(r.key, ''), r.reason, r.detail, r.content, :now)
  from jsonb_to_recordset(cast(:rows as jsonb))
       as r (workload text, place text, reason text, detail text, content text, key text)
""")
# Sending the same job again continues it. No job begins for a workload without a version in force.
BEGIN = sa.text("""
insert into lanes.job (name, workload, digest, due_at, budget_usd, created_at)
select :name, w.name, :digest, :due_at, :budget_usd, :now from lanes.workload w
 where w.name = :workload and w.version_id is not null
on conflict (name) do update
   set closed_at = null, due_at = coalesce(excluded.due_at, job.due_at),
       budget_usd = coalesce(excluded.budget_usd, job.budget_usd)
 where job.digest = excluded.digest and job.workload = excluded.workload
""")


def admit(
    connection: sa.Connection, inputs: Sequence[Submission], *, door: str, now: datetime
) -> list[Admission]:
    """Admit the inputs and return the outcome of each, in order; refused inputs are in `rejected_log`."""
    rows = json_data.dumps([each.as_row() for each in inputs])
    result = connection.execute(_build_admission(), {"rows": rows, "door": door, "now": now})
    return [Admission(row.outcome, row.detail, row.key) for row in result]


@cache
def _build_admission() -> sa.Select[*tuple[Any, ...]]:
    """Select the outcomes of :rows, admitted by :door at :now."""
    given = (
        sa.bindparam("rows", type_=sa.Text).cast(JSONB),
        sa.bindparam("door", type_=sa.Text),
        sa.bindparam("now", type_=Moment),
    )
    admitted = sa.func.lanes.admit(*given).table_valued("place", "outcome", "detail", "key").c
    wanted = sa.select(admitted.outcome, admitted.detail, admitted.key)
    return wanted.order_by(admitted.place)


def schema_refusal(
    connection: sa.Connection, workload: str, schema: Mapping[str, Any], payload: Mapping[str, Any]
) -> str | None:
    """Return why the doors would refuse the payload under this input schema, or None if they would accept it."""
    if not schema:
        return None
    asked, told = (sa.literal(json_data.dumps(each)).cast(JSONB) for each in (schema, payload))
    refusal = sa.func.lanes.input_refusal(asked, workload, told, type_=ARRAY(sa.Text))
    refused = connection.execute(sa.select(refusal)).scalar_one()
    return None if refused is None else refused[1]


def as_stored(connection: sa.Connection, payload: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Return the payload as the database would return it, with the keys in the database's order, and its size in bytes."""
    kept = sa.literal(json_data.dumps(payload)).cast(JSONB)
    row = connection.execute(sa.select(kept.label("payload"), size_of(kept))).one()
    return row.payload, row.bytes


def refuse(
    connection: sa.Connection, refusals: Sequence[Refusal], *, door: str, now: datetime
) -> None:
    """Store inputs that could not be read and notify their senders, once per (door, place).

    Characters that cannot be stored are replaced. `lanes.refuse` limits the number of stored inputs.
    """
    by_place = {each.place: each for each in map(_make_storable, refusals)}
    recorded = sa.select(rejected.c.place).where(rejected.c.source == door)
    for known in connection.execute(recorded.where(rejected.c.place.in_(list(by_place)))).scalars():
        del by_place[known]
    if by_place:
        rows = json_data.dumps([asdict(each) for each in by_place.values()])
        connection.execute(REFUSE, {"rows": rows, "door": door, "now": now})


def _make_storable(refusal: Refusal) -> Refusal:
    """Return the refusal with texts of limited length, in which characters that cannot be stored are replaced."""
    name, key = refusal.workload, refusal.key
    return Refusal(
        name and replace_unstorable(name[:KEY_LIMIT]),
        replace_unstorable(refusal.place[:KEY_LIMIT]),
        refusal.reason,
        replace_unstorable(refusal.detail),
        replace_unstorable(refusal.content[:CONTENT_LIMIT]),
        key and replace_unstorable(key[:KEY_LIMIT]),
    )


def label(
    connection: sa.Connection, workload: str, expected: Mapping[str, dict[str, Any]], *, source: str
) -> dict[str, str]:
    """Label items by key and return the outcome of each: `labeled`, `malformed` or `unknown_item`."""
    if not expected:
        return {}
    given = sa.literal(json_data.dumps(expected)).cast(JSONB)
    right = sa.func.jsonb_each(given).table_valued("key", "value")
    outcome = sa.func.lanes.label(workload, right.c.key, right.c.value, source).label("outcome")
    return {row.key: row.outcome for row in connection.execute(sa.select(right.c.key, outcome))}


def submission(connection: sa.Connection, workload: str, key: str) -> Submission:
    """Return an admitted item as its sender could submit it now.

    Raises:
        UnknownItem: the workload has no item of that key, or the item's content was erased.
    """
    its = item.c.workload == workload, item.c.key == key, item.c.forgotten_at.is_(None)
    kept = sa.select(item).where(*its, item.c.emptied_at.is_(None))
    row = connection.execute(kept).one_or_none()
    if row is None:
        raise UnknownItem(f'workload "{workload}" has no item "{key}" whose input is kept')
    return Submission(
        workload=workload,
        payload=row.payload,
        place=key,
        key=key,
        due_at=row.due_at,
        occurred_at=row.occurred_at,
        urgent=row.urgent,
        consumer=row.consumer,
        entity=row.entity,
        lane=row.pin,
    )


def cancel(connection: sa.Connection, workload: str, key: str) -> str:
    """Cancel an item and return `canceled`, or the reason why it cannot be canceled: `unknown_item` or `settled`."""
    return connection.execute(sa.select(sa.func.lanes.cancel(workload, key))).scalar_one()


def amend(
    connection: sa.Connection, amendment: Amendment, *, door: str, now: datetime
) -> Admission:
    """Apply late data and return the outcome.

    The outcome is amended, duplicate, outdated (a later amendment is in force), waiting (the item does not exist yet), or the
    reason of a refusal.
    """
    payload: Any = sa.literal(amendment.payload, JSONB)
    given = (
        amendment.workload,
        amendment.key,
        payload,
        door,
        amendment.place,
        now,
        amendment.occurred_at,
    )
    verdict = sa.func.lanes.take_amendment(*given).table_valued("outcome", "detail")
    row = connection.execute(sa.select(verdict.c.outcome, verdict.c.detail)).one()
    return Admission(row.outcome, row.detail, amendment.key)


def apply_waiting(connection: sa.Connection, *, now: datetime) -> int:
    """Apply the amendments that arrived before their items if these exist now; return the number of applied amendments."""
    return connection.execute(sa.select(sa.func.lanes.apply_waiting(now))).scalar_one()


def admit_file(
    pool: sa.Engine,
    path: Path,
    workload: str,
    layout: Layout,
    *,
    job: JobOrder | None = None,
    now: datetime,
) -> Iterator[Admitted]:
    """Admit the lines of a file as a job, by default named like the file; yield the outcomes of each committed chunk.

    Raises:
        Refused: a job of that name has other content; nothing is admitted.
        StillLocked: another transaction has submitted one of the keys and does not end; the earlier chunks are admitted.
        ValueError: the file is neither .jsonl nor .csv, or its header does not contain a named column.
    """
    lines = read_lines(path, workload, layout, now=now)
    outcomes = Counter[str]()
    name = run_in_transaction(
        pool, OWN_PATIENCE, begin, job or name_job(path, layout), workload, now
    )
    for chunk in chunks(lines, most=CHUNK, most_bytes=MOST_BYTES, weight=line_weight):
        of = path.name, workload, name, now
        results = run_in_transaction(pool, OWN_PATIENCE, _admit_lines, chunk, *of)
        outcomes += results.outcomes
        yield results
    run_in_transaction(pool, OWN_PATIENCE, close, name, outcomes, now)


def _admit_lines(
    connection: sa.Connection,
    chunk: list[FileLine | Refusal],
    door: str,
    workload: str,
    job: str,
    now: datetime,
) -> Admitted:
    lines = [each for each in chunk if isinstance(each, FileLine)]
    result = Admitted(job, bad=[each for each in chunk if isinstance(each, Refusal)])
    result.outcomes.update(each.reason for each in result.bad)
    if result.bad:
        refuse(connection, result.bad, door=door, now=now)
    asked = [replace(each.submission, job=each.submission.job or job) for each in lines]
    admissions = admit(connection, asked, door=door, now=now)
    right: dict[str, dict[str, object]] = {}
    for line, admission in zip(lines, admissions, strict=True):
        result.outcomes[admission.outcome] += 1
        if not admission.is_admitted or admission.key is None:
            place, content = line.submission.place, str(line.submission.payload)
            why = admission.outcome, admission.detail or ""
            result.bad.append(Refusal(workload, place, *why, content))
            continue
        result.keys.append(admission.key)
        if line.expected is not None:
            right[admission.key] = line.expected
    label(connection, workload, right, source=door)
    return result


def begin(connection: sa.Connection, order: JobOrder, workload: str, now: datetime) -> str:
    """Begin the job, or continue the same job, and return its name.

    Raises:
        Refused: a job of that name has other content.
    """
    given = {"digest": order.digest, "due_at": order.due_at, "budget_usd": order.budget_usd}
    given |= {"workload": workload, "now": now}
    stored_job: Any = None
    for name in filter(None, (order.name, order.otherwise)):
        connection.execute(BEGIN, {"name": name, **given})
        stored_job = connection.execute(sa.select(job).where(job.c.name == name)).first()
        if stored_job is None or (stored_job.digest, stored_job.workload) == (
            order.digest,
            workload,
        ):
            return name
    message = f'job "{stored_job.name}" of {stored_job.created_at:%Y-%m-%d %H:%M} UTC holds '
    if stored_job.digest == order.digest:
        message += f'this content for workload "{stored_job.workload}"; name another job for workload "{workload}"'
    else:
        message += f'other content of workload "{stored_job.workload}"; name another job, or send the same content again'
    raise Refused("job_conflict", message)


def close(connection: sa.Connection, name: str, outcomes: Mapping[str, int], now: datetime) -> None:
    """Record that the whole job was sent, with these outcomes; a job with new items is announced again at its next end."""
    sent, accepted = sum(outcomes.values()), outcomes.get("accepted", 0)
    values = {"sent": sent, "closed_at": now}
    values["refused"] = sent - accepted - outcomes.get("duplicate", 0)
    if accepted:
        values["done_at"] = None
    connection.execute(sa.update(job).where(job.c.name == name).values(**values))


ARRIVALS = "arrivals"
COLLECT = "collect"  # when it last checked the open batches


def read_watermark(connection: sa.Connection, name: str) -> datetime | None:
    """Return the time up to which events were read; None before the first read."""
    read = sa.select(watermark.c.seen_until).where(watermark.c.name == name)
    return connection.execute(read).scalar_one_or_none()


def advance_watermark(connection: sa.Connection, name: str, until: datetime) -> None:
    """Record that events before `until` were read; a watermark never goes back."""
    new = insert(watermark).values(name=name, seen_until=until)
    latest = {"seen_until": sa.func.greatest(watermark.c.seen_until, new.excluded.seen_until)}
    connection.execute(new.on_conflict_do_update(index_elements=["name"], set_=latest))


def read_spans(connection: sa.Connection, *, since: datetime) -> dict[datetime, int]:
    """Return the number of stored events that were read in each span that starts at `since` or later."""
    read = sa.select(stored_span.c.start_at, stored_span.c.events)
    rows = connection.execute(read.where(stored_span.c.start_at >= since))
    return {row.start_at: row.events for row in rows}


def record_spans(
    connection: sa.Connection, events: Mapping[datetime, int], *, since: datetime
) -> None:
    """Record the number of stored events that were read in each span, and delete the spans before `since`."""
    connection.execute(sa.delete(stored_span).where(stored_span.c.start_at < since))
    if not events:
        return
    rows = [{"start_at": start, "events": number} for start, number in events.items()]
    new = insert(stored_span).values(rows)
    latest = {"events": new.excluded.events}
    connection.execute(new.on_conflict_do_update(index_elements=["start_at"], set_=latest))
