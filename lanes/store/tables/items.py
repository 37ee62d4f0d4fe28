"""Tables of inputs (items, revisions, amendments, labels, refused inputs, golden sets), splits and routes.

A golden set consists of labeled items. A new version answers these before it comes into force; golden runs compare its answers
with those of the version in force.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Named, TypedColumns
from sqlalchemy.dialects.postgresql import JSONB

from lanes.doors.item import AmendmentOutcome
from lanes.ids import ArchiveId, GoldenId, ItemId, JobId, ResultId, RouteId, VersionId
from lanes.routing.lane_rules import FREE
from lanes.store.tables.base import column, identity, index, metadata, reference_unenforced, table
from lanes.store.tables.workloads import version, workload
from lanes.words import GoldenState, LabelBasis, Lane, Reason, SettledReason


class JobCounts(sa.TypedColumns):
    """The counts of a job's items by state, and their cost."""

    received: sa.Named[int] = column("Items that exist because of it", default="0")
    answered: sa.Named[int] = column("Provisionally", default="0")
    settled: sa.Named[int] = column(default="0")
    failed: sa.Named[int] = column(default="0")
    canceled: sa.Named[int] = column(default="0")
    usd: sa.Named[Decimal] = column("Billed", default="0")


@table()
class tenant(sa.TypedColumns):
    """A consumer to which a login is bound: the login reads and sends only its items; an empty consumer: no items."""

    login: sa.Named[str] = sa.Column(primary_key=True)
    consumer: sa.Named[str] = sa.Column(primary_key=True)


@table(index("ix_job_open", "id", where="done_at is null"))
class job(JobCounts):
    """Items that were submitted together and are followed as one; the counts do not include `job_use`."""

    id: sa.Named[JobId] = identity()
    name: sa.Named[str] = column("Names it among the jobs of all workloads", unique=True)
    workload: sa.Named[str] = sa.Column(sa.ForeignKey(workload.c.name))
    digest: sa.Named[bytes | None] = column("SHA-256 of all of it; null: sent item by item")
    sent: sa.Named[int | None] = column("Inputs sent as a whole; null: not known yet")
    refused: sa.Named[int | None] = column("Of these, how many the door refused")
    due_at: sa.Named[datetime | None] = column("Of items without a due time of their own")
    budget_usd: sa.Named[Decimal | None] = column("What it may be quoted at; null: no limit")
    created_at: sa.Named[datetime]
    closed_at: sa.Named[datetime | None] = column("When all of it was sent as a whole")
    done_at: sa.Named[datetime | None] = column("When all of it was found over, and told")


@table(index(None, "job_id"))
class job_use(JobCounts):
    """Deltas that transactions add to the counts of jobs, until `collect` moves them there."""

    id: sa.Named[int] = identity()
    job_id: sa.Named[JobId] = sa.Column(reference_unenforced(job.c.id))


@table(index(None, "workload, id"))
class archive(sa.TypedColumns):
    """Rows of finished items that `tidy` moved here; one archive has up to a hundred items of a workload and month."""

    id: sa.Named[ArchiveId] = identity()
    workload: sa.Named[str] = sa.Column(reference_unenforced(workload.c.name))
    items: sa.Named[int] = column("How many")  # pyright: ignore[reportIncompatibleMethodOverride]
    first_at: sa.Named[datetime] = column("When the first of them was received")
    last_at: sa.Named[datetime] = column("When the last of their facts happened")
    said_since: sa.Named[datetime | None] = column(
        "The last event of the oldest one whose content is kept; null: of none"
    )
    archived_at: sa.Named[datetime]
    document: sa.Named[Any] = column("Their rows, by item and by table", type_=sa.JSON)


@table(
    sa.UniqueConstraint("workload", "key"),
    index("ix_item_job", "job_id, id", where="job_id is not null"),
    index("uq_item_position", "position", unique=True, where="position is not null"),
    index(
        "ix_item_received",
        "workload",
        sa.text("urgent desc"),
        "due_at",
        "id",
        where="position is null and canceled_at is null",
    ),
    index("ix_item_forgotten", "workload, forgotten_at", where="forgotten_at is not null"),
    index("ix_item_failure", "id", where="failure is not null"),
    index("ix_item_failed", "workload, failed_at", where="failed_at is not null"),
    index("ix_item_listed", "workload, received_at, id"),
    index(
        "ix_item_moments",
        "received_at, answered_at, settled_at, canceled_at",
        postgresql_using="brin",
    ),
    index("ix_item_consumer", "consumer, id", where="consumer is not null"),
    index("ix_item_entity", "workload, entity, occurred_at", where="entity is not null"),
    postgresql_with={"fillfactor": 60},
    checked_moments=("as_of", "due_at", "occurred_at", "received_at"),
)
class item(sa.TypedColumns):
    """One input of a workload."""

    id: sa.Named[ItemId] = identity()
    workload: sa.Named[str] = sa.Column(reference_unenforced(workload.c.name))
    key: sa.Named[str] = column("Names the item within its workload")
    payload: sa.Named[Any] = column("The revision of the input that is in force")
    content_hash: sa.Named[bytes] = column(
        "SHA-256 of the first payload; tells duplicates from conflicts"
    )
    revision: sa.Named[int] = column("The revision in force", default="0")
    as_of: sa.Named[datetime | None] = column(
        "When the amendment in force occurred; older ones are outdated"
    )
    consumer: sa.Named[str | None] = column("Who reads the result")
    entity: sa.Named[str | None] = column("What the item is about; keeps its bucket of the split")
    urgent: sa.Named[bool] = column(default="false")
    ack: sa.Named[bool] = column(
        "Its sender wants events when it is accepted and answered", default="false"
    )
    pin: sa.Named[Lane | None] = column("The lane its sender asked for")
    due_at: sa.Named[datetime | None]
    occurred_at: sa.Named[datetime] = column("Event time; default received_at")
    received_at: sa.Named[datetime] = column("When its admission was committed")
    source: sa.Named[str] = column("The door: event, sql, client or a file's name")
    position: sa.Named[int | None] = column(
        "Order of the stream, given by the router; negative: it is of a golden set",
        type_=sa.BigInteger,
    )
    result_id: sa.Named[ResultId | None] = column("Its current result")
    answered_at: sa.Named[datetime | None] = column("When it got its first answer")
    settled_at: sa.Named[datetime | None] = column("When it got its authoritative answer")
    settled_reason: sa.Named[SettledReason | None] = column(
        "Why it stays with its provisional answer; null: it does not, or its pass failed"
    )
    failed_at: sa.Named[datetime | None] = column("When its last work was given up")
    canceled_at: sa.Named[datetime | None]
    forgotten_at: sa.Named[datetime | None] = column("When a person erased its content")
    emptied_at: sa.Named[datetime | None] = column(
        "When its content was deleted by age; keys and costs stay"
    )
    archive_id: sa.Named[ArchiveId | None] = column(
        "Where its content, routes, work, attempts and results are; null: in their tables",
        reference_unenforced(archive.c.id),
    )
    failure: sa.Named[str | None] = column("Why it, or its authoritative pass, failed")
    job_id: sa.Named[JobId | None] = column("Its first job", reference_unenforced(job.c.id))
    trace: sa.Named[bytes | None] = column(
        "Trace id, span id and flags of its sender's traceparent, 25 bytes; null: it gave none"
    )


item_position = sa.Sequence("item_position", metadata=metadata)


@table(index("uq_revision_event", "place", unique=True, where="source = 'event'"))
class revision(sa.TypedColumns):
    """All payloads of amended items, including the first."""

    item_id: sa.Named[ItemId] = sa.Column(reference_unenforced(item.c.id), primary_key=True)
    number: sa.Named[int] = column("0 = as admitted, then one more per amendment", primary_key=True)
    payload: sa.Named[Any]
    source: sa.Named[str] = column("The door: event, sql, client or a file's name")
    place: sa.Named[str | None] = column("Event id, or another name within its door")
    received_at: sa.Named[datetime]
    occurred_at: sa.Named[datetime | None] = column("Event time; null: not known")
    outdated: sa.Named[bool] = column(
        "It was older than the one in force: never in force", default="false"
    )


@table(
    sa.UniqueConstraint("source", "place"),
    index("ix_amendment_waiting", "workload, key", where="outcome is null"),
)
class amendment(sa.TypedColumns):
    """All amendments that a door accepted, with their outcomes."""

    id: sa.Named[int] = identity()
    workload: sa.Named[str] = sa.Column(sa.ForeignKey(workload.c.name))
    key: sa.Named[str]
    payload: sa.Named[Any | None] = column("Kept until it becomes a revision")
    source: sa.Named[str] = column("The door: event, sql or client")
    place: sa.Named[str | None] = column("Event id: an event is taken once")
    received_at: sa.Named[datetime]
    occurred_at: sa.Named[datetime | None] = column("Event time; null: received_at")
    outcome: sa.Named[AmendmentOutcome | None] = column(
        "Null: it waits for its item, then the router applies it"
    )
    decided_at: sa.Named[datetime | None]


@table(index(None, "source, place"), index(None, "key"), index(None, "source, rejected_at"))
class rejected(sa.TypedColumns):
    """Refused inputs."""

    id: sa.Named[int] = identity()
    workload: sa.Named[str | None]
    key: sa.Named[str | None] = column("The key it came with, if any was read")
    source: sa.Named[str] = column("The door: event, sql, client or a file's name")
    place: sa.Named[str] = column("Event id, line number or key")
    reason: sa.Named[str] = column("One word")
    detail: sa.Named[str] = column("What is wrong and what to do")
    content: sa.Named[str] = column("The input, cut at 64 KiB")
    rejected_at: sa.Named[datetime]
    times: sa.Named[int] = column(
        "Refusals that this row stands for; over 1: a day's rest", default="1"
    )


@table(sa.UniqueConstraint("item_id", "source"), index(None, "workload, labeled_at"))
class label(sa.TypedColumns):
    """Correct answers according to a person or a source, for measuring accuracy."""

    id: sa.Named[int] = identity()
    item_id: sa.Named[ItemId] = sa.Column(reference_unenforced(item.c.id))
    expected: sa.Named[Any] = column("The right values by output field")
    source: sa.Named[str] = column("Who says so")
    labeled_at: sa.Named[datetime]
    basis: sa.Named[LabelBasis] = column("How its item was chosen", default="'given'")
    workload: sa.Named[str | None] = column("That of its item; a trigger writes it")


@table(
    sa.CheckConstraint("basis_points between 0 and 10000", name="basis_points_range"),
    sa.CheckConstraint(
        "consumer is not null or basis_points is not null", name="only_a_consumer_inherits"
    ),
    index(None, "workload, consumer, id"),
)
class split(sa.TypedColumns):
    """Append-only splits; the newest row of a (workload, consumer) is in force."""

    id: sa.Named[int] = identity()
    workload: sa.Named[str] = sa.Column(sa.ForeignKey(workload.c.name))
    consumer: sa.Named[str | None] = column("Null: all consumers")
    basis_points: sa.Named[int | None] = column("Share to real-time in 1/10000; null: inherits")
    who: sa.Named[str]
    why: sa.Named[str]
    set_at: sa.Named[datetime]


# Written exactly as Postgres prints the expression, because `alembic check` compares the two texts.
BINDS = (
    f"case when reason <> all (array[{', '.join(f'{each.value!r}::text' for each in Reason if each in FREE)}]) "
    "then lane else null::text end"
)


@table(
    index(None, "item_id, id"),
    index("ix_route_stated", "decided_at", where="probability is not null and lane = 'batch'"),
    index("ix_route_fallback", "decided_at", where="reason = 'fallback'"),
    index("ix_route_shed", "decided_at", where="reason = 'shed'"),
    index("ix_route_rescue", "decided_at", where="reason = 'rescue'"),
    index("ix_route_raised", "version_id, id", where="raised is not null"),
    index("ix_route_decided_at", "decided_at", postgresql_using="brin"),
)
class route(sa.TypedColumns):
    """Append-only routing decisions; the newest route of an item is in force."""

    id: sa.Named[RouteId] = identity()
    item_id: sa.Named[ItemId] = sa.Column(reference_unenforced(item.c.id))
    version_id: sa.Named[VersionId] = sa.Column(reference_unenforced(version.c.id))
    lane: sa.Named[Lane]
    reason: sa.Named[Reason] = column("Which rule decided")
    explanation: sa.Named[str] = column("The decision as a sentence")
    realtime_usd: sa.Named[Decimal] = column("What real-time would cost, estimated")
    batch_usd: sa.Named[Decimal] = column("What batch would cost, estimated")
    decided_at: sa.Named[datetime]
    probability: sa.Named[float | None] = column("Stated probability that a batch is back in time")
    binds: sa.Named[Lane | None] = column(
        "The lane that it must stay on; null: it is free", sa.Computed(BINDS, persisted=False)
    )
    raised: sa.Named[Any | None] = column(
        "Rules that could not be evaluated, each with its error; null: none",
        type_=JSONB(none_as_null=True),
    )


@table(index("uq_golden_item_key", "workload, key", unique=True, where="removed_at is null"))
class golden_item(TypedColumns):
    """An item of the golden set of a workload."""

    id: Named[GoldenId] = identity()
    workload: Named[str] = Column(ForeignKey(workload.c.name))
    key: Named[str] = column("Names it within the set")
    item_id: Named[ItemId] = column(
        "The hidden item that has the payload", reference_unenforced(item.c.id)
    )
    expected: Named[Any] = column("The right values by output field")
    who: Named[str] = column("Who added it")
    added_at: Named[datetime]
    removed_at: Named[datetime | None] = column("When it left the set; a run that began goes on")


@table()
class golden_answer(TypedColumns):
    """The answer of a version to an item of a golden set."""

    item_id: Named[ItemId] = Column(reference_unenforced(item.c.id), primary_key=True)
    version_id: Named[VersionId] = Column(ForeignKey(version.c.id), primary_key=True)
    lane: Named[Lane] = Column(primary_key=True)
    output: Named[Any]
    answered_at: Named[datetime]


@table(index("uq_golden_run_open", "workload", unique=True, where="state = 'running'"))
class golden_run(TypedColumns):
    """A comparison of a version with the version in force, on the golden set as it was when the run began."""

    id: Named[int] = identity()
    workload: Named[str] = Column(ForeignKey(workload.c.name))
    version_id: Named[VersionId] = column(
        "The version that is tried: the candidate", ForeignKey(version.c.id)
    )
    before_id: Named[VersionId | None] = column(
        "The version in force when it began; null: none", ForeignKey(version.c.id)
    )
    lane: Named[Lane]
    state: Named[GoldenState] = column(
        "Moved on by: running, `collect` or the next publishing; others are final"
    )
    golden: Named[list[GoldenId]] = column("The items of the set")
    right_now: Named[int | None] = column("Items that the version answered right")
    right_before: Named[int | None] = column("Items that the version in force answered right")
    lost: Named[int | None] = column("Items that only the version in force answered right")
    lost_keys: Named[list[str] | None] = column("The keys of the first of these")
    began_at: Named[datetime]
    ended_at: Named[datetime | None]
