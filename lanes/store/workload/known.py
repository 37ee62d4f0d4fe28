"""A cache of versions, which never change: each is read from a database once."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import ValidationError
from sqlalchemy import Connection, Engine, select

from lanes.errors import SpecInvalid
from lanes.ids import VersionId
from lanes.store.bulk import one_of
from lanes.store.tables import version
from lanes.workload.definition import faults
from lanes.workload.version import Spec, Version

MOST = 256  # versions that are kept of a database: those that were asked for last

_kept: WeakKeyDictionary[Engine, OrderedDict[VersionId, Version]] = WeakKeyDictionary()
_lock = Lock()


@dataclass(frozen=True)
class KnownVersions:
    """Versions by their id, and the problems of those that cannot be read."""

    versions: dict[VersionId, Version]
    unreadable: list[SpecInvalid]


def known(connection: Connection, ids: Iterable[VersionId], *, most: int = MOST) -> KnownVersions:
    """Return those versions; the database is asked only for those that are not cached. The last `most` are cached."""
    wanted = set(ids)
    found = KnownVersions(_remembered(connection.engine, wanted), [])
    unknown = wanted - found.versions.keys()
    if not unknown:
        return found
    stored = select(version.c.id, version.c.workload, version.c.number, version.c.spec).where(
        one_of(unknown, version.c.id)
    )
    read: list[Version] = []
    for row in connection.execute(stored.order_by(version.c.workload, version.c.number)):
        try:
            read.append(_read(row))
        except SpecInvalid as problem:
            found.unreadable.append(problem)
    _remember(connection.engine, read, most)
    found.versions.update({each.id: each for each in read})
    return found


def _remembered(engine: Engine, wanted: set[VersionId]) -> dict[VersionId, Version]:
    with _lock:
        kept = _kept.get(engine, OrderedDict[VersionId, Version]())
        found = {id_: kept[id_] for id_ in wanted if id_ in kept}
        for id_ in found:
            kept.move_to_end(id_)
    return found


def _remember(engine: Engine, read: Sequence[Version], most: int) -> None:
    with _lock:
        kept = _kept.setdefault(engine, OrderedDict())
        kept.update({each.id: each for each in read})
        while len(kept) > most:
            kept.popitem(last=False)


def _read(row: Any) -> Version:
    """Return the version of a row.

    Raises:
        SpecInvalid: it cannot be read.
    """
    try:
        return Version(row.id, row.workload, row.number, Spec.stored(row.spec))
    except ValidationError as error:
        stored = [f"its stored version {row.number} cannot be read", *faults(error)]
        raise SpecInvalid(row.workload, stored) from None
