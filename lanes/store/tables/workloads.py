"""Tables of workloads and their versions."""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, ForeignKey, Named, TypedColumns, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB

from lanes.ids import VersionId
from lanes.store.tables.base import column, identity, table
from lanes.words import Announces, Dedupe, Lane, Mode


@table()
class workload(TypedColumns):
    """One kind of AI work."""

    name: Named[str] = column("What events, files and SQL call it", primary_key=True)
    version_id: Named[VersionId | None] = column("The version in force")
    candidate_id: Named[VersionId | None] = column(
        "A stored version that is not in force, and that no publisher puts in force by itself"
    )
    candidate_share: Named[int | None] = column(
        "Basis points of the newly routed items that the candidate gets; null: no canary is open"
    )
    provider: Named[str] = column("The provider block of the version in force", default="'lanes'")
    account: Named[str | None] = column(
        "Name of the account that this block bills; null: no run has opened it"
    )
    account_since: Named[datetime | None] = column(
        "When it moved to this account from that of another block; null: it never did"
    )
    paused_at: Named[datetime | None] = column("When it was paused: none of its work is claimed")
    submit_at: Named[datetime | None] = column(
        "Retry of a failed departure: when `collect` asks for a run of `depart`"
    )
    departed_at: Named[datetime | None] = column(
        "When the newest run of `depart` began to look for its batch work"
    )
    departed_items: Named[int | None] = column(
        "How many items that run sent; null: it has not ended"
    )
    refused_version_id: Named[VersionId | None] = column(
        "The version that the provider refuses; its work waits for the next"
    )
    refused_lane: Named[Lane | None] = column("The lane that refuses it")
    refused_at: Named[datetime | None] = column(
        "When it was refused; equal to paused_at while that pauses it"
    )
    late_context: Named[Any | None] = column(
        "Which items were compared with their context in the newest window, and what that costs",
        type_=JSONB(none_as_null=True),
    )
    created_at: Named[datetime]


@table(UniqueConstraint("workload", "number"), UniqueConstraint("workload", "hash"))
class version(TypedColumns):
    """An immutable snapshot of a workload; routes, work and results name it."""

    id: Named[VersionId] = identity()
    workload: Named[str] = Column(ForeignKey(workload.c.name))
    number: Named[int] = column("1, 2, 3 ... within the workload")
    hash: Named[str] = column("SHA-256 of the canonical definition")
    spec: Named[Any] = column("The definition; SQL never reads its keys")
    mode: Named[Mode] = column("plain, or lambda: early answers are provisional")
    realtime_model: Named[str] = column("Model of the real-time lane")
    batch_model: Named[str] = column("Model of the batch lane")
    provider: Named[str] = column("The provider block whose account answers", default="'lanes'")
    max_failures: Named[int] = column("Failed attempts after which work is given up")
    give_up_after_h: Named[int] = column("Hours after which unanswered items fail")
    batch_expected_minutes: Named[int] = column("How long a batch of it usually takes")
    confidence: Named[float] = column("Required probability that a batch is back in time")
    compare_fields: Named[list[str]] = column("Output fields that count as corrected; empty: all")
    realtime_p95_s: Named[float] = column("Promised p95 of real-time answers; 0: none")
    dedupe: Named[Dedupe] = column("What names an input without a key: key (its place) or content")
    max_payload_kib: Named[int] = column("A larger input is refused")
    input_schema: Named[Any | None] = column(
        "Inputs that break it are refused; null: none", type_=JSONB(none_as_null=True)
    )
    announces: Named[Announces] = column(
        "Answers with an event of their own: each, realtime or summary (none)"
    )
    review_share: Named[float] = column(
        "Share of its items whose label is asked for", default="0.01"
    )
    published_at: Named[datetime]


@table()
class second_pass(TypedColumns):
    """Records of a version's second passes, for versions that skip some of them."""

    version_id: Named[VersionId] = Column(ForeignKey(version.c.id), primary_key=True)
    sampled: Named[list[str]] = column("Classes of answers of which only a sample is checked")
    share: Named[float] = column("Expected share of its early answers that get a second pass")
    classes: Named[Any] = column("The record of each class (lanes/promises/second_pass.py)")
    updated_at: Named[datetime]
