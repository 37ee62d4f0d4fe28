"""What is asked for: workloads and their versions."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Double,
    ForeignKey,
    Integer,
    Named,
    Text,
    TypedColumns,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

from lanes.ids import VersionId
from lanes.store.tables.base import Moment, Word, column, id_of, identity, list_of, table
from lanes.words import Announces, Dedupe, Lane, Mode


class WorkloadColumns(TypedColumns):
    name: Named[str] = column(Text, "What events, files and SQL call it", primary_key=True)
    version_id: Named[VersionId | None] = column(id_of(VersionId), "The version in force")
    paused_at: Named[datetime | None] = column(
        Moment, "When it was paused: none of its work is claimed"
    )
    submit_at: Named[datetime | None] = column(
        Moment, "Retry of a failed departure: when `collect` asks for a run of `depart`"
    )
    refused_version_id: Named[VersionId | None] = column(
        id_of(VersionId), "The version that the provider refuses; its work waits for the next"
    )
    refused_lane: Named[Lane | None] = column(Word(Lane), "The lane that refuses it")
    refused_at: Named[datetime | None] = column(
        Moment, "When it was refused; equal to paused_at while that pauses it"
    )
    created_at: Named[datetime] = Column(Moment)


workload = table("workload", WorkloadColumns, "One kind of AI work")


class VersionColumns(TypedColumns):
    id = identity(VersionId)
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    number: Named[int] = column(Integer, "1, 2, 3 ... within the workload")
    hash: Named[str] = column(Text, "SHA-256 of the canonical definition")
    spec: Named[Any] = column(JSONB, "The definition; SQL never reads its keys")
    mode: Named[Mode] = column(Word(Mode), "plain, or lambda: early answers are provisional")
    realtime_model: Named[str] = column(Text, "Model of the real-time lane")
    batch_model: Named[str] = column(Text, "Model of the batch lane")
    max_failures: Named[int] = column(Integer, "Failed attempts after which work is given up")
    give_up_after_h: Named[int] = column(Integer, "Hours after which unanswered items fail")
    batch_expected_minutes: Named[int] = column(Integer, "How long a batch of it usually takes")
    confidence: Named[float] = column(Double, "Required probability that a batch is back in time")
    compare_fields: Named[list[str]] = column(
        list_of(Text), "Output fields that count as corrected; empty: all"
    )
    realtime_p95_s: Named[float] = column(Double, "Promised p95 of real-time answers; 0: none")
    dedupe: Named[Dedupe] = column(
        Word(Dedupe), "What names an input without a key: key (its place) or content"
    )
    max_payload_kib: Named[int] = column(Integer, "A larger input is refused")
    input_schema: Named[Any | None] = column(
        JSONB(none_as_null=True), "Inputs that break it are refused; null: none"
    )
    announces: Named[Announces] = column(
        Word(Announces), "Answers with an event of their own: each, realtime or summary (none)"
    )
    published_at: Named[datetime] = Column(Moment)


version = table(
    "version",
    VersionColumns,
    "An immutable snapshot of a workload; routes, work and results name it",
    UniqueConstraint("workload", "number"),
    UniqueConstraint("workload", "hash"),
)
