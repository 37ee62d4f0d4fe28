"""The circuits of all accounts, which drains share, as rows that are read and updated.

`lanes.realtime.circuit` decides a change from the row that was read. The change is saved only if the row is still the same.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select, text, update
from sqlalchemy.dialects.postgresql import insert

from lanes.ids import VersionId
from lanes.realtime.circuit import Circuit, CircuitState, Fault, open_circuit
from lanes.realtime.events import Needed
from lanes.store.asking import read_as
from lanes.store.database import LOCK_PATIENCE, wait_at_most
from lanes.store.statements import differs, one_of
from lanes.store.tables import outage, version
from lanes.store.workload.workloads import versions

# An open circuit whose probe has been due for longer is no evidence of a fault: no work waits for its model.
HEARD_OF = timedelta(minutes=1)
TRIES = 5  # attempts to change a circuit that other drains change at the same time

# Whether another call of the model was answered recently, after this drain's calls began to fail: then the drain has the fault.
# An attempt counts for the model of its work's version, because the version in force may differ from that of an old backlog.
# Both ends of the time range are bound, so that a cached generic plan expects few rows.
OTHERS_ARE_ANSWERED = """
select exists (
  select from (select distinct workload from lanes.version where realtime_model = :model) m
   join lanes.workload f on f.name = m.workload and coalesce(f.account, :account) = :account
   cross join lateral (
     select from lanes.attempt a
       join lanes.work w on w.id = a.work_id
       join lanes.version v on v.id = w.version_id
      where a.workload = f.name and a.lane = 'realtime' and a.ended_at between :since and :soon
        and a.started_at > :since and a.message_id is not null and v.realtime_model = :model
      limit 1) a)
"""
NEEDED = """
select first.version_id, first.rank_at
  from lanes.workload f
  join (select distinct workload, realtime_model from lanes.version where realtime_model = any(cast(:models as text[]))) m
    on m.workload = f.name
 cross join lateral (
   select w.version_id, w.rank_at
     from lanes.work w join lanes.version v on v.id = w.version_id
    where w.lane = 'realtime' and w.state = 'ready' and w.workload = f.name and w.ready_at <= :now
      and v.realtime_model = m.realtime_model
    order by w.rank_at, w.id limit 1) first
 where f.paused_at is null and f.provider = coalesce(cast(:provider as text), f.provider)
"""
LATELY = timedelta(minutes=1)  # an older answer is no evidence about the present
SOON = timedelta(minutes=1)  # the upper end of the range, after any attempt recorded by now


def list_versions(connection: Connection, models: Collection[str]) -> list[VersionId]:
    """Return the versions whose real-time work uses one of these models."""
    if not models:
        return []
    wanted = select(version.c.id).where(one_of(set(models), version.c.realtime_model))
    return list(connection.execute(wanted).scalars())


def list_needed(
    connection: Connection, models: Collection[str], *, provider: str | None = None, now: datetime
) -> list[Needed]:
    """Return the most urgent claimable real-time work for each workload and model among `models`, the most urgent first.

    If `provider` names a block, only workloads of its account count. The model is that of the work's version, which may not be
    the version in force. The query reads the queue of each workload that ever used one of the models, until it finds work for
    the model: use it for the models of an outage only.
    """
    rows = connection.execute(
        text(NEEDED), {"models": list(models), "provider": provider, "now": now}
    ).all()
    readable = versions(connection, [row.version_id for row in rows])
    there = [row for row in rows if row.version_id in readable]
    found = [Needed(readable[row.version_id], row.rank_at) for row in there]
    return sorted(found, key=attrgetter("rank_at"))


def list_not_closed(connection: Connection, *, now: datetime) -> Mapping[tuple[str, str], Circuit]:
    """Return the circuits that rest or are probed, by account and model: work for these models waits.

    The result excludes circuits whose probe has been due for more than a minute: the next call could find the model available.
    """
    since = now - HEARD_OF
    return {
        key: circuit
        for key, circuit in list_open(connection).items()
        if circuit.next_probe_at and circuit.next_probe_at > since
    }


def list_open(connection: Connection) -> Mapping[tuple[str, str], Circuit]:
    """Return all circuits that rest or are probed, by account and model, in this order."""
    rows = connection.execute(_select_outages().where(differs(outage.c.state, CircuitState.CLOSED)))
    in_order = sorted(rows, key=lambda row: (row.account, row.model))
    return {(row.account, row.model): _circuit(row) for row in in_order}


def open_circuits(connection: Connection, account: str) -> dict[str, Circuit]:
    """Return an account's circuits of outages that have not ended, by model, whether open or not."""
    rows = connection.execute(_select_outages().where(outage.c.account == account))
    return {row.model: _circuit(row) for row in rows}


def take_probe(connection: Connection, seen: Circuit, *, now: datetime) -> Circuit | None:
    """Take the probe of a circuit; return the probed circuit, or None if another drain took it or the circuit still rests.

    The query does not wait for locks: a drain that has locked the row also gets the probe.
    """
    if not seen.may_be_probed(now):
        return None
    probed = seen.take_probe(now)
    same = select(outage.c.id).where(*_match_unchanged(seen))
    free = same.with_for_update(key_share=True, skip_locked=True).cte("free")
    probe = update(outage).where(outage.c.id == free.c.id).values(_build_values(probed))
    taken = connection.execute(probe)
    return probed if taken.rowcount == 1 else None


def record_fault(
    connection: Connection, account: str, model: str, fault: Fault, *, now: datetime
) -> tuple[Circuit | None, bool]:
    """Return the circuit after a fault and whether the fault changed it; None as other drains get answers, so it stays closed.

    Must run in a transaction of its own: it waits up to a second for a concurrent change of the circuit.
    """
    wait_at_most(connection, LOCK_PATIENCE)
    for _ in range(TRIES):
        before = _of(connection, account, model)
        begins = before is None or not before.is_open
        if begins and _others_are_answered(connection, account, model, fault, now):
            return None, False
        after = open_circuit(fault, now) if before is None else before.apply_fault(fault, now)
        if after == before:
            return before, False
        if before is None and (id_ := _open_outage(connection, account, model, after)) is not None:
            return _circuit(
                connection.execute(select(outage).where(outage.c.id == id_)).one()
            ), True
        if before is not None and _try_save(connection, before, after):
            return after, True
    return _of(connection, account, model), False


def record_answer(
    connection: Connection, account: str, model: str, *, began_at: datetime
) -> Circuit | None:
    """Record the answer to a call that began at `began_at`; return the circuit, None without an outage.

    Must run in a transaction of its own, like `record_fault`.
    """
    return _change(connection, account, model, lambda circuit: circuit.apply_answer(began_at))


def give_back_probe(
    connection: Connection, account: str, model: str, *, turn: int, asked: bool, now: datetime
) -> Circuit | None:
    """Free the probe of a turn for another drain, immediately if no call was made (`asked`); return the circuit.

    Must run in a transaction of its own, like `record_fault`.
    """

    def release_probe(circuit: Circuit) -> Circuit:
        if circuit.turn != turn:
            return circuit
        return circuit.rest_again(now) if asked else circuit.free_probe(now)

    return _change(connection, account, model, release_probe)


def _change(
    connection: Connection, account: str, model: str, decide: Callable[[Circuit], Circuit]
) -> Circuit | None:
    wait_at_most(connection, LOCK_PATIENCE)
    for _ in range(TRIES):
        before = _of(connection, account, model)
        if before is None:
            return None
        after = decide(before)
        if after == before or _try_save(connection, before, after):
            return after
    return _of(connection, account, model)


def _others_are_answered(
    connection: Connection, account: str, model: str, fault: Fault, now: datetime
) -> bool:
    since = max(fault.failing_since, now - LATELY)
    given = {"account": account, "model": model, "since": since, "soon": now + SOON}
    return connection.execute(text(OTHERS_ARE_ANSWERED), given).scalar_one()


def _open_outage(connection: Connection, account: str, model: str, circuit: Circuit) -> int | None:
    """Open an outage for the circuit; return its id, or None if another drain opened one first."""
    return connection.execute(
        insert(outage)
        .values(account=account, model=model, began_at=circuit.since, **_build_values(circuit))
        .on_conflict_do_nothing(
            index_elements=["account", "model"], index_where=text("over_at is null")
        )
        .returning(outage.c.id)
    ).scalar()


def _try_save(connection: Connection, before: Circuit, after: Circuit) -> bool:
    """Save the change; return False if another drain changed the circuit first or its outage has ended."""
    moved = update(outage).where(*_match_unchanged(before)).values(_build_values(after))
    return connection.execute(moved).rowcount == 1


def _match_unchanged(since: Circuit) -> tuple[ColumnElement[bool], ...]:
    return outage.c.id == since.id, outage.c.turn == since.turn, outage.c.over_at.is_(None)


def _build_values(circuit: Circuit) -> dict[str, Any]:
    names = ("faulted_at", "faults", "why", "state", "next_probe_at", "rests", "turn", "host")
    return {name: getattr(circuit, name) for name in names}


def _select_outages() -> Select[Any]:
    return select(outage).where(outage.c.over_at.is_(None))


def _of(connection: Connection, account: str, model: str) -> Circuit | None:
    conditions = outage.c.account == account, outage.c.model == model
    row = connection.execute(_select_outages().where(*conditions)).first()
    return None if row is None else _circuit(row)


def _circuit(row: Any) -> Circuit:
    return read_as(Circuit, row, since=row.began_at)
