"""Moves of a rollout: each writes row, split, log and event in one transaction. The row is the source of truth."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any, assert_never
from uuid import UUID

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from lanes.errors import ActionRefused
from lanes.promises.assessment import Assessment
from lanes.promises.breaches import ApprovalRequest, approval_waits
from lanes.promises.incident import Promise
from lanes.rollouts import refusals
from lanes.rollouts.gates import Judgement
from lanes.rollouts.playbook import LONGEST_MINUTES, Playbook
from lanes.rollouts.rollout import (
    Advance,
    Approval,
    AskApproval,
    Enter,
    Finish,
    Happened,
    Hold,
    HoldReason,
    LogEntry,
    Move,
    RollBack,
    Rollout,
    read_rollout,
)
from lanes.routing.split import Split
from lanes.store import incidents, outbox
from lanes.store.outbox import EventOut
from lanes.store.rollouts import plans, shadows
from lanes.store.rollouts.rollouts import find, list_hindering, newest_route
from lanes.store.statements import is_among
from lanes.store.tables import rollout, rollout_event, rollout_measurement, slack_note
from lanes.store.workload import candidates, workloads
from lanes.words import OPEN_ROLLOUT, RolloutState, Signature

WORTH_TELLING = (
    HoldReason.INCONCLUSIVE,
    HoldReason.ERROR,
    HoldReason.SAMPLE_RATIO,
    HoldReason.INCIDENT,
)


def start(
    connection: Connection,
    playbook: Playbook,
    *,
    name: str,
    consumer: str | None,
    version: int | None = None,
    by: Signature,
    run_id: UUID | None,
) -> Rollout:
    """Start a rollout of workload `name`, or of its candidate `version`, and put the share of its first step in force.

    If the share is already past a step that requires approval, the share stays until a person approves.

    Raises:
        UnknownWorkload: no version of the workload is published.
        ActionRefused: the workload has an open rollout, its share is past the playbook, a gate can never be judged or pass in
            time, or the playbook moves a version other than the candidate.
    """
    workloads.lock(connection, name)
    plan, refusal = plans.plan_playbook(
        connection, playbook, name=name, consumer=consumer, now=by.now
    )
    candidate = candidates.find(connection, name)
    number = None if candidate is None else candidate.number
    refusal = refusals.refuse_order(plan, ordered=version, candidate=number) or refusal
    if refusal is not None:
        raise ActionRefused(refusal)
    assert plan.first is not None  # otherwise the plan was refused above
    before = None if version is None else workloads.current(connection, name)
    has_own = workloads.splits(connection).has_own(name, consumer)
    newest = newest_route(connection)
    row = connection.execute(
        insert(rollout)
        .values(
            playbook=playbook.name,
            content=playbook.model_dump(mode="json"),
            workload=name,
            consumer=consumer,
            state=RolloutState.RUNNING,
            step=plan.first,
            step_started_at=by.now,
            routes_before=newest,
            routes_at_start=newest,
            share_before=plan.basis_points,
            inherited_before=consumer is not None and not has_own,
            started_by=by.who,
            why=by.why,
            started_at=by.now,
            flow_run_id=run_id,
            entered=plan.owed_step is None,
            version=version,
            version_before=None if before is None else before.number,
        )
        .returning(rollout)
    ).one()
    begun = read_rollout(row)
    if begun.entered:
        _set_share(connection, begun, begun.basis_points, by)
    _tell(connection, begun, Happened.STARTED, begun.basis_points, by)
    return begun


def apply(
    connection: Connection,
    seen: Rollout,
    move: Move,
    judged: Sequence[Judgement],
    *,
    now: datetime,
    who: str | None = None,
) -> bool:
    """Apply the move that was decided on `seen`; return False, without a change, if the rollout has moved since.

    The playbook signs the move. A move forward is signed by `who`, otherwise by the person who approved it, if any.
    """
    if _lock(connection, seen) is None:
        return False
    _record(connection, seen, judged, always=not isinstance(move, Hold), now=now)
    by = _sign_by_playbook(seen, move.why, now)
    who = who or (seen.approval.who if seen.approval is not None else None)
    approved = by if who is None else replace(by, who=who)
    match move:
        case Hold(reason, _, passes):
            if passes != seen.passes:
                _write(connection, seen, passes=passes)
            _hold(connection, seen, reason, by)
        case Advance():
            points = seen.playbook.steps[seen.step + 1].basis_points
            _begin_step(connection, seen, points, approved, step=seen.step + 1)
        case Enter():
            points, newest = seen.now_at.basis_points, newest_route(connection)
            _begin_step(connection, seen, points, approved, entered=True, routes_at_start=newest)
        case AskApproval(why):
            state, holds = RolloutState.WAITING_APPROVAL, HoldReason.APPROVAL
            _write(connection, seen, state=state, holds=holds, asked=seen.asked + 1, asked_at=now)
            _tell(connection, seen, Happened.APPROVAL_ASKED, seen.basis_points, by)
            incidents.open(connection, _waits(seen, why, timedelta(0)), now=now)
        case RollBack():
            _take_back(connection, seen, RolloutState.ROLLED_BACK, by)
        case Finish():
            if seen.version is not None:
                candidates.put_in_force(connection, seen.workload)
            _write(connection, seen, state=RolloutState.FINISHED, holds=None, ended_at=now)
            shadows.cancel(connection, seen.id, now=now)
            _tell(connection, seen, Happened.FINISHED, seen.now_at.basis_points, approved)
        case _:
            assert_never(move)
    return True


def hear(connection: Connection, seen: Rollout, answer: Approval, *, now: datetime) -> bool:
    """Record a person's answer, and roll back if it declines; return False if the rollout no longer waits for an answer."""
    present = _lock(connection, seen)
    if present is None or present.state is not RolloutState.WAITING_APPROVAL:
        return False
    points, by = seen.basis_points, Signature(answer.who, answer.why, now)
    if answer.approved:
        _write(
            connection,
            seen,
            state=RolloutState.RUNNING,
            holds=None,
            approved_by=by.who,
            approved_why=by.why,
            approved_at=now,
            asked_at=None,
        )
        _tell(connection, seen, Happened.APPROVED, points, by)
        _resolve_request(connection, seen, f"Approved by {by.who}: {by.why}", now)
    else:
        _tell(connection, seen, Happened.DECLINED, points, by)
        declined = replace(by, why=f"declined: {by.why}")
        _take_back(connection, seen, RolloutState.ROLLED_BACK, declined)
    return True


def ask_again(connection: Connection, seen: Rollout, *, why: str, now: datetime) -> None:
    """Request approval again under a new number, because the answer could not be used."""
    if _lock(connection, seen) is not None:
        _write(connection, seen, asked=seen.asked + 1)
        by = _sign_by_playbook(seen, why, now)
        _tell(connection, seen, Happened.APPROVAL_ASKED, seen.basis_points, by)


def hold(connection: Connection, name: str, *, who: str, why: str, now: datetime) -> Rollout:
    """Hold the workload's open rollout at its step until a person approves; return the rollout.

    Raises:
        ActionRefused: the workload has no open rollout, or its rollout already waits for approval.
    """
    present = _lock_open(connection, name)
    if present.state is not RolloutState.RUNNING:
        raise ActionRefused(f'the rollout of workload "{name}" waits for approval already')
    apply(connection, present, AskApproval(f"held by {who}: {why}"), [], now=now)
    return find(connection, present.id)


def promote(connection: Connection, name: str, *, who: str, why: str, now: datetime) -> Rollout:
    """Move the workload's open rollout to its next step, or finish it, whatever its gates show; return the rollout.

    Raises:
        ActionRefused: the workload has no open rollout, it waits for approval, or a critical incident is open on the
            receiving side.
    """
    present = _lock_open(connection, name)
    if present.state is not RolloutState.RUNNING or not present.entered:
        raise ActionRefused(
            f'the rollout of workload "{name}" waits for approval: approve or decline it'
        )
    if hindrances := refusals.sentences(list_hindering(connection, present)):
        raise ActionRefused(f"{'; '.join(hindrances)}: handle it, then promote the step")
    is_last = present.step + 1 == len(present.playbook.steps)
    move = (Finish if is_last else Advance)(f"promoted by {who}: {why}")
    apply(connection, present, move, [], now=now, who=who)
    return find(connection, present.id)


def extend(
    connection: Connection, name: str, minutes: int, *, who: str, why: str, now: datetime
) -> Rollout:
    """Give the current step of the workload's open rollout more minutes to gather evidence; return the rollout.

    Raises:
        ActionRefused: the workload has no open rollout, its step has no limit or waits for approval, or the step would exceed
            the longest time.
    """
    present = _lock_open(connection, name)
    if present.step_ends_at is None or present.at_most_minutes is None:
        raise ActionRefused(
            f'the step in force of workload "{name}" has no time limit now: it waits as long as it takes'
        )
    if present.at_most_minutes + minutes > LONGEST_MINUTES:
        raise ActionRefused(
            f"minutes: a step takes at most {LONGEST_MINUTES:,} minutes; it has {present.at_most_minutes:,} already"
        )
    extended = present.extended_minutes + minutes
    _write(connection, present, extended_minutes=extended)
    by = Signature(who, f"{minutes:,} minutes more: {why}", now)
    _tell(connection, present, Happened.EXTENDED, present.basis_points, by)
    return find(connection, present.id)


def abort(connection: Connection, name: str, *, who: str, why: str, now: datetime) -> Rollout:
    """Abort the workload's open rollout and restore the share before it; return the rollout.

    Raises:
        ActionRefused: the workload has no open rollout.
    """
    present = _lock_open(connection, name)
    _take_back(connection, present, RolloutState.ABORTED, Signature(who, why, now))
    return find(connection, present.id)


def _sign_by_playbook(of: Rollout, why: str, now: datetime) -> Signature:
    return Signature(f"playbook {of.playbook.name}", why, now)


def _lock_open(connection: Connection, name: str) -> Rollout:
    row = connection.execute(
        select(rollout)
        .where(rollout.c.workload == name, is_among(rollout.c.state, OPEN_ROLLOUT))
        .with_for_update(key_share=True)
    ).first()
    if row is None:
        raise ActionRefused(
            f'workload "{name}" has no open rollout; see lanes.rollout_log for those that ended'
        )
    return read_rollout(row)


def _lock(connection: Connection, seen: Rollout) -> Rollout | None:
    """Return the locked row, or None if it has changed since it was read."""
    locked = select(rollout).where(rollout.c.id == seen.id).with_for_update(key_share=True)
    present = read_rollout(connection.execute(locked).one())
    names = ("state", "step", "asked", "approval", "entered", "extended_minutes")
    same = all(getattr(present, name) == getattr(seen, name) for name in names)
    return present if same and present.is_open else None


def _write(connection: Connection, seen: Rollout, **values: Any) -> None:
    connection.execute(update(rollout).where(rollout.c.id == seen.id).values(**values))


def _begin_step(
    connection: Connection, seen: Rollout, basis_points: int, by: Signature, **values: Any
) -> None:
    """Put the step's share in force and restart the measurements; an earlier approval does not count for this step."""
    _write(
        connection,
        seen,
        step_started_at=by.now,
        routes_before=newest_route(connection),
        state=RolloutState.RUNNING,
        holds=None,
        approved_by=None,
        approved_why=None,
        approved_at=None,
        asked_at=None,
        extended_minutes=0,
        passes=0,
        **values,
    )
    _set_share(connection, seen, basis_points, by)
    _tell(connection, find(connection, seen.id), Happened.STEPPED, basis_points, by)


def _hold(connection: Connection, seen: Rollout, holds: HoldReason, by: Signature) -> None:
    """Log why the rollout holds, once for each reason, and report a pending approval at each look."""
    if seen.state is RolloutState.WAITING_APPROVAL and seen.asked_at is not None:
        waits = _waits(seen, _find_request_reason(connection, seen), by.now - seen.asked_at)
        incidents.open(connection, waits, now=by.now)
    if seen.holds == holds or seen.state is RolloutState.WAITING_APPROVAL:
        return
    _write(connection, seen, holds=holds)
    if holds in WORTH_TELLING:
        _tell(connection, seen, Happened.HELD, seen.basis_points, by)


def _find_request_reason(connection: Connection, seen: Rollout) -> str:
    columns = rollout_event.c
    its = columns.rollout_id == seen.id, columns.event == Happened.APPROVAL_ASKED
    newest = select(columns.why).where(*its).order_by(columns.id.desc()).limit(1)
    return connection.execute(newest).scalar_one_or_none() or "it was asked before"


def _waits(seen: Rollout, why: str, waited: timedelta) -> Assessment:
    """Return the breach for an approval that a person has to give."""
    request = ApprovalRequest(
        seen.workload,
        seen.id,
        seen.playbook.name,
        seen.asks_about,
        len(seen.playbook.steps),
        seen.basis_points / 100,
        seen.goes_to,
        60 * seen.playbook.approval_within_hours,
    )
    return approval_waits(request, why, waited_minutes=waited.total_seconds() / 60)


def _resolve_request(connection: Connection, seen: Rollout, sentence: str, now: datetime) -> None:
    """Resolve the incident that requests an answer."""
    incidents.resolve(connection, Promise.APPROVAL_WAITS, seen.workload, sentence=sentence, now=now)


def _take_back(connection: Connection, seen: Rollout, state: RolloutState, by: Signature) -> None:
    _write(connection, seen, state=state, holds=None, ended_at=by.now, asked_at=None)
    shadows.cancel(connection, seen.id, now=by.now)
    _resolve_request(
        connection, seen, f"The rollout is {state.replace('_', ' ')}: {by.why}", by.now
    )
    if seen.version is not None:
        candidates.set_share(connection, seen.workload, None)
    elif seen.inherited_before and seen.consumer is not None:
        signed = {"who": by.who, "why": _format_reason(seen, by.why)}
        workloads.inherit_split(connection, seen.workload, seen.consumer, **signed, now=by.now)
    else:
        _set_share(connection, seen, seen.share_before, by)
    share = workloads.splits(connection).of(seen.workload, seen.consumer).basis_points
    _tell(connection, seen, Happened(state), 0 if seen.version is not None else share, by)


def _set_share(connection: Connection, of: Rollout, basis_points: int, by: Signature) -> None:
    if of.version is not None:
        candidates.set_share(connection, of.workload, basis_points)
        return
    split = Split(of.workload, of.consumer, basis_points)
    workloads.set_split(connection, split, who=by.who, why=_format_reason(of, by.why), now=by.now)


def _format_reason(of: Rollout, why: str) -> str:
    return f"rollout {of.id}: {why}"


def _tell(
    connection: Connection, of: Rollout, event: Happened, basis_points: int, by: Signature
) -> None:
    """Add a line to the log and the event `lanes.rollout.<event>` to the outbox; Slack shows both in the rollout's thread."""
    line = LogEntry(event, of.asks_about, basis_points, by.who, by.why, by.now)
    connection.execute(insert(rollout_event).values(rollout_id=of.id, **asdict(line)))
    shown = upsert(slack_note).values(rollout_id=of.id, created_at=by.now, next_try_at=by.now)
    again = {"next_try_at": by.now}
    connection.execute(shown.on_conflict_do_update(index_elements=["rollout_id"], set_=again))
    payload = {
        "rollout_id": of.id,
        "playbook": of.playbook.name,
        "consumer": of.consumer,
        "step": of.asks_about + 1,
        "steps": len(of.playbook.steps),
        "percent": basis_points / 100,
        "version": of.version,
        "who": by.who,
        "why": by.why,
    }
    announcement = EventOut.about_workload(f"lanes.rollout.{event}", of.workload, payload)
    outbox.add(connection, [announcement], now=by.now)


def _record(
    connection: Connection, of: Rollout, judged: Sequence[Judgement], *, always: bool, now: datetime
) -> None:
    """Store the measurements if a verdict changed or the rollout moves."""
    columns = rollout_measurement.c
    newest = connection.execute(
        select(columns.measure, columns.verdict)
        .distinct(columns.measure)
        .where(columns.rollout_id == of.id, columns.step == of.step)
        .order_by(columns.measure, columns.id.desc())
    )
    known = {row.measure: row.verdict for row in newest}
    rows = [
        {
            "rollout_id": of.id,
            "step": of.step,
            "measure": each.gate.measure,
            "value": each.measurement.value,
            "samples": each.measurement.samples,
            "wrong": each.measurement.wrong,
            "verdict": each.verdict,
            "explanation": each.explanation,
            "at": now,
        }
        for each in judged
        if always or known.get(each.gate.measure) != each.verdict
    ]
    if rows:
        connection.execute(insert(rollout_measurement), rows)
