"""Candidates: stored versions that are not in force. A canary gives a candidate a share of the newly routed items."""

from datetime import datetime

from sqlalchemy import Connection, select, text

from lanes.errors import ActionRefused
from lanes.ids import VersionId
from lanes.store.tables import workload
from lanes.store.workload import workloads
from lanes.store.workload.workloads import versions, write
from lanes.workload.definition import content_hash
from lanes.workload.version import Spec, Version

NOTHING_TO_COMPARE = 'workload "{}" has no version in force that a new one could be compared with: publish it without --canary'
SAME_AS_IN_FORCE = (
    'version {} of workload "{}" is in force already: change its definition, then start a canary'
)
TAKEN_BACK = """
select v.number, r.id, r.state, e.why
  from lanes.workload w
  join lanes.version v on v.id = w.candidate_id and v.hash = :hash
 cross join lateral (select id, state from lanes.rollout
                      where workload = w.name and version = v.number order by id desc limit 1) r
 cross join lateral (select why from lanes.rollout_event where rollout_id = r.id order by id desc limit 1) e
 where w.name = :workload and r.state in ('rolled_back', 'aborted')
"""


def store(connection: Connection, name: str, spec: Spec, *, now: datetime) -> Version:
    """Store the version with this content as the workload's candidate, which is not in force.

    Raises:
        StillLocked: another transaction is publishing the workload and does not end in time.
        ActionRefused: a canary is open, the content is already in force, or the workload has no version in force.
    """
    standing = workloads.lock_without_canary(connection, name)
    if standing is None:
        raise ActionRefused(NOTHING_TO_COMPARE.format(name))
    stored = workloads.store(connection, name, spec, now=now)
    if stored.id == standing:
        raise ActionRefused(SAME_AS_IN_FORCE.format(stored.number, name))
    write(connection, name, candidate_id=stored.id)
    return stored


def is_candidate(connection: Connection, name: str, spec: Spec) -> bool:
    """Return whether the candidate has this content; if so, publishers do not put it in force."""
    found = find(connection, name)
    return found is not None and content_hash(found.spec) == content_hash(spec)


def has_canary(connection: Connection, name: str) -> bool:
    """Return whether a canary of the workload is open."""
    its = select(workload.c.candidate_share).where(workload.c.name == name)
    return connection.execute(its).scalar_one_or_none() is not None


def explain_rollback(connection: Connection, name: str, spec: Spec) -> str | None:
    """Return a sentence if this content is the candidate's and its canary was rolled back or aborted, else None."""
    of = {"workload": name, "hash": content_hash(spec)}
    row = connection.execute(text(TAKEN_BACK), of).first()
    if row is None:
        return None
    return (
        f"version {row.number} stays out of force, because its rollout {row.id} was {row.state.replace('_', ' ')}: {row.why}. "
        f"`lanes publish --force` puts it in force anyway; publishing what `lanes export {name}` writes restores the block"
    )


def dismiss(connection: Connection, name: str, spec: Spec) -> None:
    """Remove the candidate if it has this content, so that publishers can put it in force: a person wants it without a canary.

    Raises:
        StillLocked: another transaction is publishing the workload and does not end in time.
        ActionRefused: a canary is open.
    """
    if _read_id(connection, name) is None:
        return
    workloads.lock_without_canary(connection, name)
    if is_candidate(connection, name, spec):
        write(connection, name, candidate_id=None)


def find(connection: Connection, name: str) -> Version | None:
    """Return the workload's candidate, or None if it has none or the candidate is unreadable."""
    id_ = _read_id(connection, name)
    return None if id_ is None else versions(connection, [id_]).get(id_)


def set_share(connection: Connection, name: str, basis_points: int | None) -> None:
    """Give the candidate a share of the newly routed items; None ends its canary, so that it gets no items."""
    workloads.lock(connection, name)
    write(connection, name, candidate_share=basis_points)


def put_in_force(connection: Connection, name: str) -> None:
    """End the candidate's canary, and put the candidate in force for all items."""
    workloads.lock(connection, name)
    id_ = _read_id(connection, name)
    assert id_ is not None  # callers ensure that a canary is open
    write(connection, name, candidate_share=None)
    workloads.put_in_force(connection, name, id_)


def _read_id(connection: Connection, name: str) -> VersionId | None:
    its = select(workload.c.candidate_id).where(workload.c.name == name)
    return connection.execute(its).scalar_one_or_none()
