"""What is asked for: workloads and their versions."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
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
from lanes.store.tables.base import Moment, id_of, identity, metadata


class WorkloadColumns(TypedColumns):
    name: Named[str] = Column(Text, primary_key=True, comment="What events, files and SQL call it")
    version_id: Named[VersionId | None] = Column(id_of(VersionId), comment="The version in force")
    paused_at: Named[datetime | None] = Column(Moment, comment="Since when nothing of it is claimed")
    submit_at: Named[datetime | None] = Column(
        Moment, comment="Some of its work could not be submitted: collect asks for a run of submit from then on"
    )
    created_at: Named[datetime] = Column(Moment)


workload = Table("workload", metadata, WorkloadColumns, comment="One kind of AI work")


class VersionColumns(TypedColumns):
    id = identity(VersionId)
    workload: Named[str] = Column(Text, ForeignKey(workload.c.name))
    number: Named[int] = Column(Integer, comment="1, 2, 3 ... within the workload")
    hash: Named[str] = Column(Text, comment="SHA-256 of the canonical definition")
    spec: Named[Any] = Column(JSONB, comment="Instructions, schema, models, rules, promises")
    published_at: Named[datetime] = Column(Moment)


version = Table(
    "version", metadata, VersionColumns,
    UniqueConstraint("workload", "number"), UniqueConstraint("workload", "hash"),
    comment="An immutable snapshot of a workload; routes, work and results name theirs",
)  # fmt: skip
