"""What is asked for: workloads and their versions."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    Double,
    ForeignKey,
    Integer,
    Named,
    Table,
    Text,
    TypedColumns,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

from lanes.ids import VersionId
from lanes.store.tables.base import Moment, Word, id_of, identity, metadata, one_of
from lanes.words import Announces, Dedupe, Lane, Mode


class WorkloadColumns(TypedColumns):
    name: Named[str] = Column(Text, primary_key=True, comment="What events, files and SQL call it")
    version_id: Named[VersionId | None] = Column(id_of(VersionId), comment="The version in force")
    paused_at: Named[datetime | None] = Column(
        Moment, comment="Since when nothing of it is claimed"
    )
    submit_at: Named[datetime | None] = Column(
        Moment,
        comment="Some of its work could not be submitted: collect asks for a run of submit from then on",
    )
    refused_version_id: Named[VersionId | None] = Column(
        id_of(VersionId),
        comment="The provider refuses this version as such: its work waits for another version",
    )
    refused_lane: Named[Lane | None] = Column(
        Word(Lane), comment="The lane on which it was refused"
    )
    refused_at: Named[datetime | None] = Column(
        Moment, comment="Since when; as long as paused_at is the same, it pauses"
    )
    created_at: Named[datetime] = Column(Moment)


workload = Table(
    "workload",
    metadata,
    WorkloadColumns,
    one_of("refused_lane", Lane),
    comment="One kind of AI work",
)


class VersionColumns(TypedColumns):
    id = identity(VersionId)
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    number: Named[int] = Column(Integer, comment="1, 2, 3 ... within the workload")
    hash: Named[str] = Column(Text, comment="SHA-256 of the canonical definition")
    spec: Named[Any] = Column(
        JSONB,
        comment="Instructions, schema, models, rules, promises: read as a whole, never by key",
    )
    mode: Named[Mode] = Column(
        Word(Mode), comment="plain or lambda: whether an early answer owes an authoritative pass"
    )
    realtime_model: Named[str] = Column(Text, comment="Model of the real-time lane")
    batch_model: Named[str] = Column(Text, comment="Model of the batch lane")
    max_failures: Named[int] = Column(
        Integer, comment="Failed attempts after which an item's work is given up"
    )
    give_up_after_h: Named[int] = Column(
        Integer, comment="Hours after which what could not be answered fails"
    )
    batch_expected_minutes: Named[int] = Column(
        Integer, comment="How long a batch of it usually takes"
    )
    confidence: Named[float] = Column(
        Double, comment="How surely a batch must be back for an item that is due, 0.5 to 0.999"
    )
    compare_fields: Named[list[str]] = Column(
        ARRAY(Text), comment="Fields whose difference makes a correction; empty: all"
    )
    realtime_p95_s: Named[float] = Column(
        Double, comment="Promised 95th percentile of real-time answers; 0: no promise"
    )
    dedupe: Named[Dedupe] = Column(
        Word(Dedupe), comment="What an input without a key is known by: key (its place) or content"
    )
    max_payload_kib: Named[int] = Column(Integer, comment="A larger input is refused")
    input_schema: Named[Any | None] = Column(
        JSONB(none_as_null=True),
        comment="An input that breaks it is refused; null: any JSON object is taken",
    )
    announces: Named[Announces] = Column(
        Word(Announces),
        comment="Which answers are told one by one: each, realtime (of that lane) or summary (none)",
    )
    published_at: Named[datetime] = Column(Moment)


version = Table(
    "version",
    metadata,
    VersionColumns,
    UniqueConstraint("workload", "number"),
    UniqueConstraint("workload", "hash"),
    one_of("mode", Mode),
    one_of("dedupe", Dedupe),
    one_of("announces", Announces),
    comment="An immutable snapshot of a workload; routes, work and results name theirs",
)
