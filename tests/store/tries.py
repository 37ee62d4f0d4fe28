"""Claims, attempts, batches and views for the tests of the store: each call names only what matters to the test."""

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text
from sqlalchemy.dialects import postgresql

from lanes.batch.batch import BatchKind, Intent
from lanes.ids import BatchId
from lanes.packing import Claim, ClaimedWork
from lanes.realtime.limiter import divide
from lanes.settling.outcome import Attempt, Judgment, Response, SaveResult
from lanes.store import work
from lanes.store.batch import collection, creates, ready_work
from lanes.store.settling import outcomes
from lanes.store.tables import metadata
from lanes.words import Lane, Outcome
from lanes.workload.prices import Usage
from lanes.workload.version import Version
from tests.conftest import NOON
from tests.examples import admit, route

LEASE = timedelta(minutes=2)
BILLED = (Outcome.VALID, Outcome.INVALID, Outcome.REFUSED, Outcome.TRUNCATED)
A, B = {"category": "a"}, {"category": "b"}
_numbers = itertools.count(1)


def said(
    message_id: str | None = None, *, tokens: int = 1_000, model: str = "claude-haiku-5-5"
) -> Response:
    """Make a billed response with a unique message id; the ids sort in the order of the calls."""
    name = message_id or f"msg_{next(_numbers):06}"
    return Response(
        name, model, "", "end_turn", Usage(input=tokens, output=20), request_id=f"req_{name}"
    )


def tried(
    claim: Claim | ClaimedWork,
    outcome: Outcome = Outcome.VALID,
    output: dict[str, Any] | None = None,
    *,
    response: Response | None = None,
    at: datetime = NOON,
    error: str | None = None,
    bound_usd: Decimal = Decimal(0),
) -> Attempt:
    """Make an attempt of one second that ended at `at`; a valid one answers `A` by default, a billed one has a response."""
    if response is None and outcome in BILLED:
        response = said()
    if outcome is Outcome.VALID:
        output = output or A
    of = claim.claim if isinstance(claim, ClaimedWork) else claim
    judged = Judgment(outcome, output, error)
    return Attempt(of, judged, response, at - timedelta(seconds=1), at, 1_000, bound_usd)


def save(
    connection: Connection,
    *attempts: Attempt,
    now: datetime = NOON,
    batch_id: BatchId | None = None,
    flow_run_id: UUID | None = None,
) -> SaveResult:
    """Save attempts with their consequences."""
    return outcomes.save(connection, attempts, batch_id=batch_id, flow_run_id=flow_run_id, now=now)


def claim(
    connection: Connection,
    lane: Lane = Lane.REALTIME,
    *,
    now: datetime = NOON,
    worker: str = "worker",
    places: int = 100,
    lease: timedelta = LEASE,
) -> list[ClaimedWork]:
    """Claim the most urgent work; `places` are divided among the workloads as on the real-time lane."""
    entitled = {
        name: version.entitlement
        for name, version in work.read_waiting(connection, lane, now=now).versions.items()
    }
    most = divide(places, entitled, in_flight={}, places=places, rooms={})
    return work.claim(connection, lane, most, worker=worker, lease=lease, now=now)


def claimed_item(
    connection: Connection,
    key: str = "k",
    *,
    now: datetime = NOON,
    workload: str = "letters",
    lane: Lane | None = Lane.REALTIME,
    **fields: Any,
) -> ClaimedWork:
    """Admit, route and claim a real-time item; without `lane` its workload must route it to real-time."""
    admit(connection, key, now=now, workload=workload, lane=lane, **fields)
    route(connection, now=now)
    return next(each for each in claim(connection, now=now) if each.key == key)


def intent(version: Version, *, account: str = "acme", nonce: str | None = None) -> Intent:
    """Make the intent that is committed before a batch is paid for."""
    nonce = nonce or f"{next(_numbers):016x}"
    return Intent(
        nonce, account, version.workload, version.id, version.spec.batch_model, 100, "hash"
    )


def intend(
    connection: Connection,
    version: Version,
    *,
    now: datetime = NOON,
    pack: int = 1,
    account: str = "acme",
) -> tuple[BatchId, list[ClaimedWork]]:
    """Intend a batch of all waiting work; return its id and its work in order."""
    waiting = lock_for_batch(
        connection, BatchKind(version.workload, version.id), limit=1_000, now=now
    )
    packs = [
        [each.claim for each in waiting[start : start + pack]]
        for start in range(0, len(waiting), pack)
    ]
    return creates.intend(connection, intent(version, account=account), packs, now=now), waiting


def submit(
    connection: Connection,
    version: Version,
    *,
    now: datetime = NOON,
    pack: int = 1,
    account: str = "acme",
) -> tuple[BatchId, list[ClaimedWork]]:
    """Submit a batch of all waiting work; return its id and its work in order."""
    batch_id, waiting = intend(connection, version, now=now, pack=pack, account=account)
    creates.mark_submitted(
        connection,
        batch_id,
        f"msgbatch_{account}_{batch_id}",
        expected_end_at=now + timedelta(hours=1),
        now=now,
    )
    return batch_id, waiting


def home(connection: Connection, batch_id: BatchId, *, now: datetime = NOON) -> None:
    """Mark the batch as ended and collected."""
    collection.mark_ended(connection, batch_id, at=now, now=now)
    collection.mark_collected(connection, batch_id, now=now)


def crowd(
    connection: Connection, version: Version, lane: Lane, *, done_every: int | None = None
) -> None:
    """Insert 20,000 items on a lane at noon, ranked in their order, and analyze them; one in `done_every` is done."""
    connection.execute(
        text("""
        with born as (
          insert into lanes.item (workload, key, payload, content_hash, occurred_at, received_at, source, position)
          select :workload, 'k' || n, '{}', '', :now, :now, 'sql', n from generate_series(1, 20000) n returning id)
        insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, waits_since)
        select id, :workload, :version, :lane, 'answer', 0, case when id % :every = 0 then 'done' else 'ready' end,
               :now, :now + id * interval '1 ms', :now from born
        """),
        {
            "workload": version.workload,
            "version": version.id,
            "lane": lane,
            "every": done_every,
            "now": NOON,
        },
    )
    connection.execute(text("analyze lanes.work, lanes.item"))


def rows(connection: Connection, relation: str, order: str = "1", **where: Any) -> list[Any]:
    """Return the matching rows of a table or view in schema `lanes`."""
    matching = " and ".join(f"{name} = :{name}" for name in where) or "true"
    return list(
        connection.execute(
            text(f"select * from lanes.{relation} where {matching} order by {order}"), where
        )
    )


def row(connection: Connection, relation: str, **where: Any) -> Any:
    """Return the one matching row."""
    (only,) = rows(connection, relation, **where)
    return only


def events(connection: Connection, name: str) -> list[Any]:
    """Return the unpublished events of that name, oldest first."""
    return rows(connection, "event_outbox", "id", event=name)


def keys(claimed: Sequence[ClaimedWork]) -> list[str]:
    """Return the keys of claimed work, in order."""
    return [each.key for each in claimed]


def until_blocked(pool: Engine, pid: int) -> None:
    """Wait until a lock of another transaction blocks the backend."""
    with pool.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for _ in range(20_000):
            if connection.execute(
                text("select cardinality(pg_blocking_pids(:pid)) > 0"), {"pid": pid}
            ).scalar_one():
                return
    raise AssertionError(f"backend {pid} never waited for a lock")


def backend(connection: Connection) -> int:
    """Return the process id of the backend that serves this connection."""
    return connection.execute(text("select pg_backend_pid()")).scalar_one()


def explained(connection: Connection, query: Any, *, name: str) -> str:
    """Return the plan of a query as a prepared statement, under the plan cache mode of the session."""
    compiled = query.compile(
        dialect=postgresql.dialect(paramstyle="pyformat"),
        compile_kwargs={"render_postcompile": True},
    )
    names = list(compiled.params)
    prepared = str(compiled) % {each: f"${place}" for place, each in enumerate(names, 1)}
    literals = ", ".join(quoted(compiled.params[each]) for each in names)
    arguments = f"({literals})" if names else ""
    connection.exec_driver_sql(f"prepare {name} as {prepared}")
    lines = connection.exec_driver_sql(f"explain execute {name}{arguments}").scalars()
    return "\n".join(lines)


def quoted(value: Any) -> str:
    """Render the value of a query parameter as SQL text."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"'{{{', '.join('null' if each is None else str(each) for each in value)}}}'"
    return str(value) if isinstance(value, int) else f"'{value}'"


def said_somewhere(connection: Connection, word: str) -> set[str]:
    """Return the names of the tables that contain the word."""
    tables = [table.name for table in metadata.sorted_tables]
    found = "select count(*) from lanes.{0} t where position('{1}' in t::text) > 0"
    return {
        name for name in tables if connection.exec_driver_sql(found.format(name, word)).scalar()
    }


def lock_for_batch(
    connection: Connection, kind: BatchKind, *, now: datetime = NOON, **most: int
) -> list[ClaimedWork]:
    """Lock the most urgent batch work of a kind until this transaction ends."""
    return list(ready_work.lock_batch_work(connection, kind, now=now, **most))
