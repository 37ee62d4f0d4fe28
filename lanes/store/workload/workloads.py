"""Workloads, their versions and the splits in force."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cache
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.dialects.postgresql import JSONB, insert

from lanes.errors import ActionRefused, SpecInvalid, UnknownWorkload
from lanes.ids import VersionId
from lanes.routing.split import Canary, Split, Splits
from lanes.store.database import LOCK_PATIENCE, limit_waits
from lanes.store.statements import one_of
from lanes.store.tables import split, version, workload
from lanes.workload.definition import content_hash, faults
from lanes.workload.version import Spec, Version

UNPUBLISHED = 'workload "{}" has no published version; publish it, or correct the name'


@dataclass(frozen=True)
class InForce:
    """The readable versions in force by workload name, and an error for each unreadable one.

    `canaries` contains the open canaries by workload name; only `to_route` reads them.
    """

    versions: dict[str, Version]
    unreadable: list[SpecInvalid]
    canaries: dict[str, Canary] = field(default_factory=dict[str, Canary])


def publish(connection: sa.Connection, name: str, spec: Spec, *, now: datetime) -> Version:
    """Put the version with this content in force; new content gets the next number, known content keeps its number.

    A workload's first version also sets its first split. If the content is in force already, nothing is locked.

    Raises:
        StillLocked: another transaction is publishing the workload and does not end in time.
        ActionRefused: a canary is open.
    """
    standing = connection.execute(_select_standing(name, content_hash(spec))).first()
    if standing is not None:
        return Version(standing.id, name, standing.number, spec)
    stored = store(connection, name, spec, now=now)
    put_in_force(connection, name, stored.id)
    return stored


def is_in_force(connection: sa.Connection, name: str, spec: Spec) -> bool:
    """Return whether the workload's version in force has this content."""
    return connection.execute(_select_standing(name, content_hash(spec))).first() is not None


def _select_standing(name: str, content: str) -> sa.Select[Any, int]:
    """Select the workload's version in force, if it has this content."""
    return (
        sa.select(version.c.id, version.c.number)
        .join(workload, workload.c.version_id == version.c.id)
        .where(workload.c.name == name, version.c.hash == content)
    )


def write(connection: sa.Connection, name: str, **values: Any) -> None:
    """Update columns of a workload; the caller must have locked it."""
    connection.execute(sa.update(workload).where(workload.c.name == name).values(**values))


def lock_without_canary(connection: sa.Connection, name: str) -> VersionId | None:
    """Lock the workload and return the id of its version in force, or None if it has none.

    Raises:
        StillLocked: another transaction is changing the workload and does not end in time.
        ActionRefused: a canary is open; it must be compared with the version that was in force when it began.
    """
    lock(connection, name)
    row = connection.execute(
        sa.select(workload.c.version_id, workload.c.candidate_share, version.c.number)
        .join_from(workload, version, version.c.id == workload.c.candidate_id, isouter=True)
        .where(workload.c.name == name)
    ).first()
    if row is not None and row.candidate_share is not None:
        raise ActionRefused(
            f'workload "{name}" has an open canary of version {row.number}: let it end, or run `lanes rollout abort {name}`, '
            "before another version is published"
        )
    return None if row is None else row.version_id


def lock(connection: sa.Connection, name: str) -> None:
    """Lock the workload against other changes until this transaction ends; submissions to it are not blocked.

    Raises:
        StillLocked: another transaction is changing the workload and does not end in time.
    """
    with limit_waits(connection, LOCK_PATIENCE):
        connection.execute(
            sa.select(workload.c.name)
            .where(workload.c.name == name)
            .with_for_update(key_share=True)
        )


def store(connection: sa.Connection, name: str, spec: Spec, *, now: datetime) -> Version:
    """Lock the workload, and store the version with this content or find the stored one; do not put it in force.

    Raises:
        StillLocked: another transaction is publishing the workload and does not end in time.
        ActionRefused: a canary is open.
    """
    content = content_hash(spec)
    with limit_waits(connection, LOCK_PATIENCE):
        connection.execute(
            insert(workload).values(name=name, created_at=now).on_conflict_do_nothing()
        )
    lock_without_canary(connection, name)
    of_this, row = version.c.workload == name, (version.c.id, version.c.number)
    found = connection.execute(sa.select(*row).where(of_this, version.c.hash == content)).first()
    if found is None:
        last = connection.execute(
            sa.select(sa.func.coalesce(sa.func.max(version.c.number), 0)).where(of_this)
        ).scalar_one()
        values = {"hash": content, "spec": spec.model_dump(mode="json"), **_columns(spec)}
        found = connection.execute(
            insert(version)
            .values(workload=name, number=last + 1, published_at=now, **values)
            .returning(*row)
        ).one()
        if last == 0:
            points = round(spec.split_percent * 100)
            set_split(
                connection, Split(name, None, points), who="lanes", why="first published", now=now
            )
    return Version(found.id, name, found.number, spec)


def put_in_force(connection: sa.Connection, name: str, id: VersionId) -> None:
    """Put a stored version of the workload in force, and remove its candidate; the caller must have locked the workload."""
    its, differs = workload.c.name == name, workload.c.version_id.is_distinct_from(id)
    provider = sa.select(version.c.provider).where(version.c.id == id).scalar_subquery()
    connection.execute(
        sa.update(workload)
        .where(its, differs)
        .values(version_id=id, candidate_id=None, provider=provider)
    )


def _columns(spec: Spec) -> dict[str, Any]:
    """Return the columns that SQL reads instead of the stored spec."""
    return {
        "mode": spec.mode,
        "realtime_model": spec.realtime_model,
        "batch_model": spec.batch_model,
        "provider": spec.provider,
        "max_failures": spec.max_failures,
        "give_up_after_h": spec.give_up_after_h,
        "batch_expected_minutes": spec.batch_expected_minutes,
        "confidence": spec.confidence,
        "compare_fields": spec.compare_fields,
        "realtime_p95_s": spec.promises.realtime_p95_s,
        "dedupe": spec.dedupe,
        "max_payload_kib": spec.max_payload_kib,
        "announces": spec.announces,
        "input_schema": spec.input_schema or None,
        "review_share": spec.review_share,
    }


def read_versions(connection: sa.Connection) -> dict[str, Version]:
    """Return the readable version in force of every workload, by name."""
    return read_in_force(connection).versions


def read_in_force(connection: sa.Connection) -> InForce:
    """Return the readable version in force of every workload, and the errors of the unreadable ones."""
    rows = connection.execute(
        sa.select(workload.c.name, version.c.id)
        .join(version, version.c.id == workload.c.version_id)
        .order_by(workload.c.name)
    ).all()
    read = read_cached_versions(connection, [row.id for row in rows])
    readable = {row.name: read.versions[row.id] for row in rows if row.id in read.versions}
    return InForce(readable, read.unreadable)


def to_route(connection: sa.Connection, names: Iterable[str]) -> tuple[InForce, Splits]:
    """Return the versions in force and the canaries of these workloads, and their splits."""
    rows = connection.execute(_to_route(), {"names": list(names)}).all()
    tried = {row.candidate_id for row in rows if row.candidate_share}
    read = read_cached_versions(connection, {row.id for row in rows} | tried)
    readable = {row.name: read.versions[row.id] for row in rows if row.id in read.versions}
    canaries = {
        row.name: Canary(read.versions[row.candidate_id], row.candidate_share)
        for row in rows
        if row.candidate_share and row.candidate_id in read.versions
    }
    return InForce(readable, read.unreadable, canaries), Splits(_list_splits(rows))


@cache
def _to_route() -> sa.Select[*tuple[Any, ...]]:
    newest = (
        sa.select(split.c.consumer, split.c.basis_points)
        .where(split.c.workload == workload.c.name)
        .distinct(split.c.consumer)
        .order_by(split.c.consumer, split.c.id.desc())
        .lateral("newest")
    )
    return (
        sa.select(
            workload.c.name,
            version.c.id,
            workload.c.candidate_id,
            workload.c.candidate_share,
            *newest.c,
        )
        .select_from(
            workload.join(version, version.c.id == workload.c.version_id).join(
                newest, sa.true(), isouter=True
            )
        )
        .where(workload.c.name == sa.any_(sa.bindparam("names", type_=sa.ARRAY(sa.Text))))
    )


def require(connection: sa.Connection, name: str) -> Version:
    """Return the readable version in force of the workload.

    Raises:
        UnknownWorkload: the workload has no readable version in force.
    """
    version = read_versions(connection).get(name)
    if version is None:
        raise UnknownWorkload(UNPUBLISHED.format(name))
    return version


def current(connection: sa.Connection, name: str) -> Version | None:
    """Return the version in force of the workload, or None if none is.

    Raises:
        SpecInvalid: the version is no longer readable.
    """
    id_ = current_id(connection, name)
    return None if id_ is None else one(connection, id_)


def current_id(connection: sa.Connection, name: str) -> VersionId | None:
    """Return the id of the version in force of the workload, readable or not; None if none is."""
    return connection.execute(
        sa.select(workload.c.version_id).where(workload.c.name == name)
    ).scalar_one_or_none()


def versions(connection: sa.Connection, ids: Iterable[VersionId]) -> dict[VersionId, Version]:
    """Return the readable versions among `ids`, by id."""
    return read_cached_versions(connection, ids).versions


def find_by_number(
    connection: sa.Connection, name: str, numbers: Iterable[int | None]
) -> dict[int | None, Version]:
    """Return the workload's readable versions among `numbers`, by number."""
    of_these = version.c.number.in_([each for each in numbers if each is not None])
    ids = sa.select(version.c.id).where(version.c.workload == name, of_these)
    found = versions(connection, connection.execute(ids).scalars())
    return {each.number: each for each in found.values()}


def one(connection: sa.Connection, id: VersionId) -> Version:
    """Return the version with this id.

    Raises:
        SpecInvalid: the version is no longer readable.
    """
    read = read_cached_versions(connection, [id])
    for problem in read.unreadable:
        raise problem
    return read.versions[id]


def as_stored(connection: sa.Connection, spec: Spec) -> Spec:
    """Return the spec after a round trip through the database's JSON type, which reorders keys."""
    kept: Any = connection.execute(
        sa.select(sa.cast(spec.model_dump(mode="json"), JSONB))
    ).scalar_one()
    return Spec.load(kept)


def check_known(connection: sa.Connection, name: str) -> None:
    """Check that the workload exists.

    Raises:
        UnknownWorkload: no workload has this name.
    """
    its = sa.select(workload.c.name).where(workload.c.name == name)
    if connection.execute(its).first() is None:
        raise UnknownWorkload(f'there is no workload "{name}"; correct the name, or publish it')


def pause(connection: sa.Connection, name: str, *, since: datetime | None) -> bool:
    """Pause the workload's claims, or resume them with `since` None; return False if there is no such workload.

    Resuming also ends the stop of a version that the provider refused, so that it is tried again.
    """
    values: dict[str, Any] = {"paused_at": since}
    if since is None:
        values |= {"refused_version_id": None, "refused_lane": None, "refused_at": None}
    found = connection.execute(
        sa.update(workload).where(workload.c.name == name).values(values).returning(workload.c.name)
    )
    return found.first() is not None


def set_split(connection: sa.Connection, new: Split, *, who: str, why: str, now: datetime) -> None:
    """Put a split in force; the append-only log of splits records who set it and why."""
    connection.execute(insert(split).values(**asdict(new), who=who, why=why, set_at=now))


def inherit_split(
    connection: sa.Connection, name: str, consumer: str, *, who: str, why: str, now: datetime
) -> None:
    """Let a consumer inherit the workload's split again; the append-only log of splits records who decided it and why."""
    inherits = {"workload": name, "consumer": consumer, "basis_points": None}
    connection.execute(insert(split).values(**inherits, who=who, why=why, set_at=now))


def splits(connection: sa.Connection) -> Splits:
    """Return the splits in force."""
    newest = (
        sa.select(split.c.workload.label("name"), split.c.consumer, split.c.basis_points)
        .distinct(split.c.workload, split.c.consumer)
        .order_by(split.c.workload, split.c.consumer, split.c.id.desc())
    )
    return Splits(_list_splits(connection.execute(newest)))


def _list_splits(newest: Iterable[Any]) -> list[Split]:
    """Return the splits of the newest rows, without rows whose consumer inherits (no basis points)."""
    return [
        Split(row.name, row.consumer, row.basis_points)
        for row in newest
        if row.basis_points is not None
    ]


MOST_KEPT = 256  # versions cached per database: the most recently used ones

_kept: WeakKeyDictionary[sa.Engine, OrderedDict[VersionId, Version]] = WeakKeyDictionary()
_lock = Lock()


@dataclass(frozen=True)
class KnownVersions:
    """Readable versions by id, and an error for each unreadable one."""

    versions: dict[VersionId, Version]
    unreadable: list[SpecInvalid]


def read_cached_versions(
    connection: sa.Connection, ids: Iterable[VersionId], *, most: int = MOST_KEPT
) -> KnownVersions:
    """Return the versions among `ids`, from the cache if possible; the cache keeps the `most` recently used versions."""
    wanted_ids = set(ids)
    result = KnownVersions(_recall(connection.engine, wanted_ids), [])
    unknown = wanted_ids - result.versions.keys()
    if not unknown:
        return result
    stored = sa.select(version.c.id, version.c.workload, version.c.number, version.c.spec).where(
        one_of(unknown, version.c.id)
    )
    read: list[Version] = []
    for row in connection.execute(stored.order_by(version.c.workload, version.c.number)):
        try:
            read.append(_read(row))
        except SpecInvalid as problem:
            result.unreadable.append(problem)
    _remember(connection.engine, read, most)
    result.versions.update({each.id: each for each in read})
    return result


def _recall(engine: sa.Engine, wanted: set[VersionId]) -> dict[VersionId, Version]:
    with _lock:
        kept = _kept.get(engine, OrderedDict[VersionId, Version]())
        found = {id_: kept[id_] for id_ in wanted if id_ in kept}
        for id_ in found:
            kept.move_to_end(id_)
    return found


def _remember(engine: sa.Engine, read: Sequence[Version], most: int) -> None:
    with _lock:
        kept = _kept.setdefault(engine, OrderedDict())
        kept.update({each.id: each for each in read})
        while len(kept) > most:
            kept.popitem(last=False)


def _read(row: Any) -> Version:
    """Return a stored row as a version.

    Raises:
        SpecInvalid: the stored spec is invalid.
    """
    try:
        return Version(row.id, row.workload, row.number, Spec.load(row.spec))
    except ValidationError as error:
        stored = [f"its stored version {row.number} cannot be read", *faults(error)]
        raise SpecInvalid(row.workload, stored) from None
