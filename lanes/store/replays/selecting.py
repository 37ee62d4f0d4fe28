"""The selection of a replay from a part of the stream: the items that it processes, and those that it skips."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from lanes.errors import RuleFailed, SpecInvalid
from lanes.ids import ItemId, VersionId
from lanes.rollouts.replays import Selection, build_call_parts
from lanes.routing.route import ArrivedItem, rule_variables
from lanes.store.asking import read_as
from lanes.store.doors import full_data
from lanes.store.statements import characters
from lanes.store.tables import (
    attempt,
    correction,
    item,
    label,
    pack_check,
    result,
    shadow_pair,
    version,
)
from lanes.store.workload import workloads
from lanes.words import LabelBasis, Lane
from lanes.workload.context import ContextTag
from lanes.workload.version import Version

OF_ITEM = ("id", "position", "key", "entity", "revision", "consumer", "failure", "received_at")
OF_RULE = ("payload", "occurred_at", "due_at", "urgent", "pin")
SHOWN = result.alias("shown")  # the current answer, for use in a condition
IS_GONE = sa.or_(item.c.forgotten_at.is_not(None), item.c.emptied_at.is_not(None))


@dataclass
class ReplayPart:
    """A part of the stream up to `end`; the selection's rule could not be evaluated for `unmet` items."""

    end: int
    asked: list[Any] = field(default_factory=list[Any])
    skipped: int = 0
    erased: int = 0
    unmet: int = 0
    unmet_because: str = ""


def match_items(of: Version, selection: Selection, after: int, last: int) -> sa.ColumnElement[bool]:
    """Match the workload's items within a range of the stream that meet the selection's conditions, except for its rule."""
    conditions = [item.c.workload == of.workload, item.c.position > after, item.c.position <= last]
    conditions.append(sa.or_(item.c.canceled_at.is_(None), item.c.forgotten_at.is_not(None)))
    if selection.since is not None:
        conditions.append(item.c.received_at >= selection.since)
    if selection.until is not None:
        conditions.append(item.c.received_at < selection.until)
    if selection.key:
        conditions.append(item.c.key.in_(selection.key))
    if selection.answered_by is not None:
        number = version.c.workload == of.workload, version.c.number == selection.answered_by
        its_id = sa.select(version.c.id).where(*number).scalar_subquery()
        answer = SHOWN.c.id == item.c.result_id, SHOWN.c.version_id == its_id
        conditions.append(sa.exists().where(*answer))
    if selection.only == "labeled":
        conditions.append(_has(label, label.c.basis != LabelBasis.REVIEW))
    elif selection.only == "failed":
        conditions.append(item.c.failure.is_not(None))
    elif selection.only == "differing":
        conditions.append(_differs(of.spec.compare_fields))
    return sa.and_(*conditions)


def part(
    connection: sa.Connection,
    by: Version,
    selection: Selection,
    after: int,
    last: int,
    *,
    limit: int,
) -> ReplayPart:
    """Return the next `limit` items in the range that meet the conditions, divided into processed and skipped ones.

    Raises:
        ActionRefused: the rule cannot be compiled.
    """
    rule, lane = selection.rule(), Lane(selection.lane)
    shown = attempt.c.work_id == result.c.work_id, attempt.c.shown
    same = attempt.c.message_id.is_not_distinct_from(result.c.message_id)
    tried = sa.select(attempt.c.version_id, attempt.c.lane).where(*shown, same)
    tried = tried.order_by(attempt.c.id.desc()).limit(1).lateral("tried")
    query = sa.select(
        *(item.c[name] for name in (*OF_ITEM, *(OF_RULE if rule else ()))),
        characters(item.c.payload).label("length"),
        IS_GONE.label("is_gone"),
        tried.c.version_id.label("asked_version"),
        tried.c.lane.label("asked_lane"),
        result.c.revision.label("asked_revision"),
    ).select_from(
        item.outerjoin(result, result.c.id == item.c.result_id).outerjoin(tried, sa.true())
    )
    matching = match_items(by, selection, after, last)
    rows = connection.execute(query.where(matching).order_by(item.c.position).limit(limit)).all()
    found = ReplayPart(rows[-1].position if len(rows) == limit else last)
    for row in rows:
        if row.is_gone:
            found.erased += 1
            continue
        try:
            if rule is None or rule.holds(_variables(by.workload, row)):
                found.asked.append(row)
        except RuleFailed as failure:
            found.unmet += 1
            found.unmet_because = found.unmet_because or f"{row.key}: {failure}"
    if not selection.force:
        alike = _alike(connection, found.asked, by, lane)
        found.skipped = len(alike)
        found.asked = [row for row in found.asked if row.id not in alike]
    return found


def lengths(connection: sa.Connection, rows: Sequence[Any], by: Version) -> full_data.Lengths:
    """Return, for each item, the lengths in characters of the earlier items that a batch of the version reads with it."""
    apart = full_data.is_apart(by.spec.pack_scope)
    return full_data.lengths(connection, [row.id for row in rows], by.spec.context, apart=apart)


def _alike(connection: sa.Connection, rows: Sequence[Any], by: Version, lane: Lane) -> set[ItemId]:
    """Return the items for which this version would send on the lane exactly the request that produced their current answer.

    This is derived from the two versions, on the lane of each (an attempt names the version that was tried), from the answered
    revision, and from the history that both read. An item counts as different if this cannot be derived: if its newest
    revision has no answer; if its authoritative pass failed; if its earlier version can no longer be read; if one of the two
    may pack (an item shares its prompt with its neighbors); if one reads more than the inputs of earlier items of any age
    (answers, labels and reference rows change); if they separate consumers differently; or if the earlier version read a
    history and any item has been forgotten since the item was received (the forgotten item's entity was erased, too). A change
    in how a release of Lanes writes prompts is not detected: `force` repeats the request.
    """
    asked = {row.asked_version for row in rows if row.asked_version is not None}
    before = {id_: _readable(connection, id_) for id_ in asked}
    forgotten = sa.select(sa.func.max(item.c.forgotten_at))
    forgotten = forgotten.where(item.c.workload == by.workload, item.c.forgotten_at.is_not(None))
    last_forgotten = connection.execute(forgotten).scalar_one()
    same = dict[ItemId, tuple[int, int]]()
    for row in rows:
        was = before.get(row.asked_version)
        if was is None or row.asked_revision != row.revision or row.failure is not None:
            continue
        if not _asks_as((was, row.asked_lane), (by, lane)):
            continue
        items = was.spec.context.entity.items, by.spec.context.entity.items
        depths = items[0] * (row.asked_lane == Lane.BATCH), items[1] * (lane is Lane.BATCH)
        if row.entity is None or not any(depths):
            same[row.id] = 0, 0
        elif was.spec.pack_scope is by.spec.pack_scope and (
            not depths[0] or last_forgotten is None or last_forgotten < row.received_at
        ):
            same[row.id] = depths
    apart = set(same) if full_data.is_apart(by.spec.pack_scope) else set[ItemId]()
    return set(same) - full_data.unsteady(connection, same, apart=apart)


def _asks_as(was: tuple[Version, Lane], by: tuple[Version, Lane]) -> bool:
    """Return whether both versions send the same request on their lanes, apart from the item and its history."""
    asks = was, by
    alone = all(version.spec.pack_of(lane) == 1 for version, lane in asks)
    contexts = [version.spec.context for version, lane in asks if lane is Lane.BATCH]
    plain = all(of.parts <= {ContextTag.HISTORY} and not of.entity.days for of in contexts)
    return alone and plain and build_call_parts(*was) == build_call_parts(*by)


def _readable(connection: sa.Connection, id: VersionId) -> Version | None:
    try:
        return workloads.one(connection, id)
    except SpecInvalid:
        return None


def _variables(workload: str, row: Any) -> dict[str, Any]:
    return rule_variables(read_as(ArrivedItem, row, workload=workload), row.received_at)


def _has(of: Any, *met: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.exists().where(of.c.item_id == item.c.id, *met)


def _differs(fields: Sequence[str]) -> sa.ColumnElement[bool]:
    """Match items with a correction, or a differing shadow or pack check; empty `fields` compare the whole output."""
    aside, shown = shadow_pair.c.output, SHOWN.c.output
    differs = [aside[name].is_distinct_from(shown[name]) for name in fields] or [aside != shown]
    answer = sa.exists().where(SHOWN.c.id == item.c.result_id, sa.or_(*differs))
    pair = aside.is_not(None), shadow_pair.c.revision == item.c.revision
    return sa.or_(
        _has(correction),
        _has(shadow_pair, *pair, answer),
        _has(pack_check, pack_check.c.agrees.is_(False)),
    )
