"""Tables of calls and money: responses, attempts, results and reads; replays; budgets and overheads; caching and limits."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from lanes.ids import BatchId, BudgetId, GenerationId, ItemId, ResultId, VersionId, WorkId
from lanes.money.budget import Period
from lanes.money.caching import Marks
from lanes.money.overhead import OverheadKind
from lanes.realtime.limiter import WaitReason
from lanes.routing.capacity import LimitKind
from lanes.store.tables.base import column, identity, index, reference_unenforced, table
from lanes.store.tables.items import item
from lanes.store.tables.work import batch, work
from lanes.store.tables.workloads import version, workload
from lanes.words import FlushReason, Lane, Outcome, Purpose, ReplayState, Standing


@table(index("ix_response_moments", "billed_at, id", postgresql_using="brin"))
class response(sa.TypedColumns):
    """The ledger: each billed response that Lanes received, once."""

    id: sa.Named[int] = column("Their order", sa.Identity(always=True), type_=sa.BigInteger)
    message_id: sa.Named[str] = column("The provider's id: billed once, booked once", unique=True)
    workload: sa.Named[str]
    lane: sa.Named[Lane]
    purpose: sa.Named[Purpose]
    model: sa.Named[str]
    batch_id: sa.Named[BatchId | None] = sa.Column(reference_unenforced(batch.c.id))
    items: sa.Named[int] = column("How many items shared the call")  # pyright: ignore[reportIncompatibleMethodOverride]
    input_tokens: sa.Named[int]
    output_tokens: sa.Named[int]
    cache_read_tokens: sa.Named[int]
    cache_write_tokens: sa.Named[int]
    cost_usd: sa.Named[Decimal]
    price_version: sa.Named[str]
    billed_at: sa.Named[datetime]
    digest: sa.Named[str | None] = column("Tells apart two responses with one id")
    service_tier: sa.Named[str | None] = column("Null: as asked, standard or batch")
    inference_geo: sa.Named[str | None] = column("Where it was answered; null: not told")
    speed: sa.Named[str | None] = column("Null: standard")


@table(
    index(None, "item_id"),
    index(None, "workload, lane, ended_at"),
    index("ix_attempt_moments", "ended_at, started_at, batch_id", postgresql_using="brin"),
    index(
        "uq_attempt_once", "work_id", "claim_no", sa.text("coalesce(message_id, '')"), unique=True
    ),
)
class attempt(sa.TypedColumns):
    """Tries at work; a claim has one attempt per response, or one attempt without a response."""

    id: sa.Named[int] = identity()
    work_id: sa.Named[WorkId] = sa.Column(reference_unenforced(work.c.id))
    item_id: sa.Named[ItemId] = sa.Column(reference_unenforced(item.c.id))
    version_id: sa.Named[VersionId] = column(
        "The version that was tried", reference_unenforced(version.c.id)
    )
    claim_no: sa.Named[int]
    workload: sa.Named[str]
    lane: sa.Named[Lane]
    purpose: sa.Named[Purpose]
    outcome: sa.Named[Outcome]
    error: sa.Named[str | None]
    request_id: sa.Named[str | None]
    message_id: sa.Named[str | None]
    batch_id: sa.Named[BatchId | None] = sa.Column(reference_unenforced(batch.c.id))
    model: sa.Named[str]
    input_tokens: sa.Named[int]
    output_tokens: sa.Named[int]
    cache_read_tokens: sa.Named[int]
    cache_write_tokens: sa.Named[int]
    cost_usd: sa.Named[Decimal] = column("Its part of the response's cost")
    bound_usd: sa.Named[Decimal] = column("Of an unknown attempt: its upper bound, not in spend")
    shown: sa.Named[bool] = column("Its answer became a result")
    latency_ms: sa.Named[int] = column("Duration of the call, or of the batch")
    started_at: sa.Named[datetime]
    ended_at: sa.Named[datetime]
    gathered_ms: sa.Named[int | None] = column("Time in the window; null: none")
    left_because: sa.Named[FlushReason | None] = column("Why it left the window")
    flow_run_id: sa.Named[Any | None] = column("The run that saved it", type_=sa.Uuid)


@table(
    sa.UniqueConstraint("item_id", "generation", "revision", "standing"),
    index("ix_result_overlay", "generation, item_id", where="generation > 0"),
    index("ix_result_moments", "created_at, item_id", postgresql_using="brin"),
)
class result(sa.TypedColumns):
    """Answers; the first valid answer of a standing wins."""

    id: sa.Named[ResultId] = identity()
    item_id: sa.Named[ItemId] = sa.Column(reference_unenforced(item.c.id))
    work_id: sa.Named[WorkId] = sa.Column(reference_unenforced(work.c.id))
    version_id: sa.Named[VersionId] = sa.Column(reference_unenforced(version.c.id))
    lane: sa.Named[Lane]
    standing: sa.Named[Standing]
    generation: sa.Named[int]
    revision: sa.Named[int]
    output: sa.Named[Any | None] = column("The answer; null: deleted by age")
    message_id: sa.Named[str | None]
    created_at: sa.Named[datetime]


@table(sa.UniqueConstraint("item_id", "authoritative_id"))
class correction(sa.TypedColumns):
    """Replacements of a provisional result by a different authoritative one."""

    id: sa.Named[int] = identity()
    item_id: sa.Named[ItemId] = sa.Column(reference_unenforced(item.c.id))
    generation: sa.Named[int]
    provisional_id: sa.Named[ResultId] = sa.Column(reference_unenforced(result.c.id))
    authoritative_id: sa.Named[ResultId] = sa.Column(reference_unenforced(result.c.id))
    changed_fields: sa.Named[list[str]]
    distance: sa.Named[float] = column("Share of the compared fields that changed, 0 to 1")
    corrected_at: sa.Named[datetime]


@table(index(None, "item_id"), index(None, "reader, read_at"))
class read(sa.TypedColumns):
    """The consumption ledger: each read of a result, with its reader and time."""

    id: sa.Named[int] = identity()
    item_id: sa.Named[ItemId] = sa.Column(sa.ForeignKey(item.c.id))
    reader: sa.Named[str] = column("Who asked")
    result_id: sa.Named[ResultId | None] = column(
        "Null: none yet", reference_unenforced(result.c.id)
    )
    read_at: sa.Named[datetime]


@table(
    sa.UniqueConstraint("workload", "number"),
    sa.CheckConstraint("number > 0", name="number_positive"),
    index("uq_generation_open", "workload", unique=True, where="state in ('running', 'complete')"),
)
class generation(sa.TypedColumns):
    """A numbered replay of a workload's stream by one version; its results overlay the live ones."""

    id: sa.Named[GenerationId] = identity()
    workload: sa.Named[str] = sa.Column(sa.ForeignKey(workload.c.name))
    number: sa.Named[int] = column("1, 2, 3 ... within the workload")
    version_id: sa.Named[VersionId] = sa.Column(sa.ForeignKey(version.c.id))
    state: sa.Named[ReplayState] = column(
        "Moved on by: running, its work; others, a person who promotes, demotes or drops; dropped is final"
    )
    from_position: sa.Named[int] = column("First position that it reads", type_=sa.BigInteger)
    to_position: sa.Named[int] = column("Last position that it reads", type_=sa.BigInteger)
    cursor_position: sa.Named[int] = column("Work exists up to here", type_=sa.BigInteger)
    items: sa.Named[int] = column("Items with work", default="0")  # pyright: ignore[reportIncompatibleMethodOverride]
    selection: sa.Named[Any] = column(
        "Its conditions on items, and its lane; {}: none, batch", default="'{}'"
    )
    skipped: sa.Named[int] = column("Items that would be asked as they were", default="0")
    erased: sa.Named[int] = column("Selected items without a payload any more", default="0")
    who: sa.Named[str]
    why: sa.Named[str]
    created_at: sa.Named[datetime]
    paused_at: sa.Named[datetime | None] = column("Since when a person pauses it")
    completed_at: sa.Named[datetime | None] = column("When the last of its work ended")
    promoted_at: sa.Named[datetime | None]
    demoted_at: sa.Named[datetime | None]
    dropped_at: sa.Named[datetime | None]


@table()
class promoted(sa.TypedColumns):
    """Results that a promotion replaced, so that a demotion can restore them."""

    generation_id: sa.Named[GenerationId] = sa.Column(
        reference_unenforced(generation.c.id), primary_key=True
    )
    item_id: sa.Named[ItemId] = sa.Column(reference_unenforced(item.c.id), primary_key=True)
    before_id: sa.Named[ResultId] = column(
        "The result that demote restores", reference_unenforced(result.c.id)
    )
    after_id: sa.Named[ResultId] = column("The replay's result", reference_unenforced(result.c.id))


@table(
    sa.CheckConstraint(
        "soft_usd >= 0 and hard_usd >= 0 and soft_usd <= hard_usd", name="limits_in_order"
    ),
    sa.CheckConstraint("num_nonnulls(soft_usd, hard_usd) > 0", name="limits_given"),
    index(
        "uq_budget", "workload, consumer, period", unique=True, postgresql_nulls_not_distinct=True
    ),
)
class budget(sa.TypedColumns):
    """Cost limits of a workload, or of one of its consumers, per period."""

    id: sa.Named[BudgetId] = identity()
    workload: sa.Named[str] = sa.Column(sa.ForeignKey(workload.c.name))
    consumer: sa.Named[str | None] = column("Null: all consumers together")
    period: sa.Named[Period] = column("day or month, from midnight in its zone")
    zone: sa.Named[str] = column("IANA time zone")
    soft_usd: sa.Named[Decimal | None] = column("Beyond it, items that may wait go to batch")
    hard_usd: sa.Named[Decimal | None] = column("Never exceeded; 0: nothing is paid")
    refused_at: sa.Named[datetime | None] = column(
        "Since when too little has been left for the next call"
    )
    refused_usd: sa.Named[Decimal | None] = column("The least that such a call may cost")
    who: sa.Named[str]
    why: sa.Named[str]
    set_at: sa.Named[datetime]


@table()
class budget_spent(sa.TypedColumns):
    """Amounts that count against a budget, by period; readers add budget_use."""

    budget_id: sa.Named[BudgetId] = sa.Column(
        sa.ForeignKey(budget.c.id, ondelete="cascade"), primary_key=True
    )
    began_at: sa.Named[datetime] = column("When the period begins", primary_key=True)
    usd: sa.Named[Decimal] = column("Billed")
    bound_usd: sa.Named[Decimal] = column("Upper bound of unknown bills")


@table(index(None, "budget_id"))
class budget_use(sa.TypedColumns):
    """Amounts that transactions add, until the sweep moves them into budget_spent."""

    id: sa.Named[int] = identity()
    budget_id: sa.Named[BudgetId] = column("No key: a save locks no budget")
    began_at: sa.Named[datetime] = column("When the period begins")
    usd: sa.Named[Decimal] = column(default="0")
    bound_usd: sa.Named[Decimal] = column(default="0")


@table()
class budget_hold(sa.TypedColumns):
    """Amounts of a budget that are reserved for batches; work.bound_usd has the reservations for calls."""

    budget_id: sa.Named[BudgetId] = sa.Column(
        sa.ForeignKey(budget.c.id, ondelete="cascade"), primary_key=True
    )
    batch_id: sa.Named[BatchId] = column(
        "The batch, until it is collected or released", sa.ForeignKey(batch.c.id), primary_key=True
    )
    usd: sa.Named[Decimal] = column("The most that the batch may cost")


@table(
    sa.CheckConstraint("monthly_usd >= 0", name="not_negative"), index(None, "workload, from_date")
)
class overhead(sa.TypedColumns):
    """Append-only monthly costs of a lane in addition to the provider's bill."""

    id: sa.Named[int] = identity()
    workload: sa.Named[str | None] = column(
        "Null: every workload without an amount of its own", sa.ForeignKey(workload.c.name)
    )
    lane: sa.Named[Lane]
    kind: sa.Named[OverheadKind] = column("infrastructure or engineering")
    monthly_usd: sa.Named[Decimal] = column("US dollars a month")
    from_date: sa.Named[date] = column("First day, UTC; the newest that has begun is in force")
    who: sa.Named[str]
    why: sa.Named[str]
    set_at: sa.Named[datetime]


@table()
class caching(sa.TypedColumns):
    """Decisions whether a version's calls on a lane mark their shared part for the provider's cache."""

    version_id: sa.Named[VersionId] = sa.Column(sa.ForeignKey(version.c.id), primary_key=True)
    lane: sa.Named[Lane] = sa.Column(primary_key=True)
    marks: sa.Named[Marks] = column("none, some (to find out) or all")
    why: sa.Named[str] = column("The evidence, as a sentence")
    pays_from: sa.Named[float] = column("The hit rate from which it pays; infinity: never")
    since: sa.Named[datetime] = column("Since when it has marked so")
    decided_at: sa.Named[datetime] = column("When it was last evaluated")
    hit_rate: sa.Named[float | None] = column(
        "Share of the cached tokens that was read, last measured"
    )
    calls: sa.Named[int] = column("About how many calls were measured", default="0")
    losses: sa.Named[int] = column("How often in a row it has not paid", default="0")
    again_at: sa.Named[datetime | None] = column(
        "When it may be tried again; null: when it promises to pay"
    )


@table(prefixes=["UNLOGGED"], postgresql_with={"fillfactor": 50})
class capacity(sa.TypedColumns):
    """The provider's limits per minute and the rest of each, as any drain saw them last; a crash empties this table."""

    account: sa.Named[str] = column("The provider account whose limit it is", primary_key=True)
    model: sa.Named[str] = column("The model's name in requests", primary_key=True)
    kind: sa.Named[LimitKind] = column(
        "tokens: input and output together; cached input never counts", primary_key=True
    )
    limit_: sa.Named[int] = column("Per minute", type_=sa.BigInteger)
    remaining: sa.Named[int] = column("What was left at seen_at", type_=sa.BigInteger)
    reset_at: sa.Named[datetime] = column("When it is whole again if unused")
    seen_at: sa.Named[datetime] = column("When the response came; the newest wins")


@table(prefixes=["UNLOGGED"], postgresql_with={"fillfactor": 50})
class call_wait(sa.TypedColumns):
    """Reasons why calls for claimed work wait, as the newest drain report states them; a crash empties this table."""

    workload: sa.Named[str] = column("Its workload", primary_key=True)
    reason: sa.Named[WaitReason] = column("What holds the calls back", primary_key=True)
    calls: sa.Named[int] = column("Calls that waited at seen_at")
    seen_at: sa.Named[datetime] = column("When the drain reported it; it counts for a few seconds")
