"""Golden sets: labeled items that a new version answers before it is in force, its answers, and the runs that compare them."""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, ForeignKey, Named, TypedColumns

from lanes.ids import GoldenId, ItemId, VersionId
from lanes.store.tables.base import column, identity, index, table, unenforced
from lanes.store.tables.items import item
from lanes.store.tables.workloads import version, workload
from lanes.words import GoldenState, Lane


@table(index("uq_golden_item_key", "workload, key", unique=True, where="removed_at is null"))
class golden_item(TypedColumns):
    """An item of the golden set of a workload."""

    id: Named[GoldenId] = identity()
    workload: Named[str] = Column(ForeignKey(workload.c.name))
    key: Named[str] = column("Names it within the set")
    item_id: Named[ItemId] = column("The hidden item that has the payload", unenforced(item.c.id))
    expected: Named[Any] = column("The right values by output field")
    who: Named[str] = column("Who added it")
    added_at: Named[datetime]
    removed_at: Named[datetime | None] = column("When it left the set; a run that began goes on")


@table()
class golden_answer(TypedColumns):
    """The answer of a version to an item of a golden set."""

    item_id: Named[ItemId] = Column(unenforced(item.c.id), primary_key=True)
    version_id: Named[VersionId] = Column(ForeignKey(version.c.id), primary_key=True)
    lane: Named[Lane] = Column(primary_key=True)
    output: Named[Any]
    answered_at: Named[datetime]


@table(index("uq_golden_run_open", "workload", unique=True, where="state = 'running'"))
class golden_run(TypedColumns):
    """A comparison of a version with the version in force on the golden set, as it was when the run began."""

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
