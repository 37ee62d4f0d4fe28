"""Proposed rollouts as rows: advice creates and refreshes them, and a person decides on them."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from lanes.advice.evidence import ConsumerUse
from lanes.advice.proposals import (
    DECLINED_FOR,
    MOST_PROPOSED,
    ProposalFigures,
    ProposedRollout,
    compute_bar_end,
    figures,
    fit_playbook,
    price_plan,
)
from lanes.advice.recommendation import Advice
from lanes.errors import ActionRefused
from lanes.ids import ProposalId
from lanes.rollouts.playbook import Playbook
from lanes.rollouts.rollout import Rollout
from lanes.store import outbox
from lanes.store.outbox import EventOut
from lanes.store.rollouts import plans, rollout_moves
from lanes.store.tables import proposal
from lanes.store.workload import workloads
from lanes.units import dollars
from lanes.words import ProposalState, Signature

LISTED = 100  # newest proposals in a listing
NOT_LATE = "its recorded reads no longer show that it reads late"


@dataclass(frozen=True)
class Review:
    """The proposals for a workload, and the reasons why other consumers that read late get none."""

    proposed: list[ProposedRollout] = field(default_factory=list[ProposedRollout])
    refused: dict[str, str] = field(default_factory=dict[str, str])


def refresh(connection: Connection, advice: Advice, playbook: Playbook, *, now: datetime) -> Review:
    """Propose a playbook for the workload's consumers that certainly read late, and return the current proposals.

    An open proposal gets new figures and keeps a person's edits. It is withdrawn if its reasons no longer apply or if its
    rollout would be refused. A consumer whose proposal was declined gets no new one for a month. The plans are made before the
    workload is locked, so a proposal that has changed since then stays unchanged.
    """
    name, review = advice.workload, Review()
    proposals_before = _open(connection, name)
    late = {each.consumer: each for each in advice.movable[:MOST_PROPOSED] if each.consumer}
    contents = dict[str, dict[str, Any]]()
    for consumer, use in late.items():
        open_proposal = proposals_before.get(consumer)
        # a person's edit takes precedence
        book = (
            open_proposal.playbook
            if open_proposal is not None and open_proposal.who is not None
            else playbook
        )
        try:
            contents[consumer] = _plan(connection, advice, use, book, now)
        except ActionRefused as refusal:
            review.refused[consumer] = str(refusal)
    workloads.lock(connection, name)
    present = _open(connection, name)
    review.refused.update(_find_declined(connection, name, late, now))
    for consumer in late:
        open_proposal = present.get(consumer)
        if consumer in review.refused or (open_proposal is None and consumer in proposals_before):
            continue  # refused, or decided since the plans were made
        if open_proposal is None:
            open_proposal = _insert(connection, name, consumer, contents[consumer], now)
        elif open_proposal == proposals_before.get(consumer):
            open_proposal = _write(connection, open_proposal.id, **contents[consumer], at=now)
        review.proposed.append(open_proposal)
    for consumer, open_proposal in present.items():
        if open_proposal == proposals_before.get(consumer) and (
            consumer in review.refused or consumer not in late
        ):
            why = review.refused.get(consumer, NOT_LATE)
            _write(
                connection,
                open_proposal.id,
                state=ProposalState.WITHDRAWN,
                who=None,
                why=why,
                at=now,
            )
    return review


def _plan(
    connection: Connection, advice: Advice, use: ConsumerUse, playbook: Playbook, now: datetime
) -> dict[str, Any]:
    """Return the playbook and figures of a proposal as columns.

    Raises:
        ActionRefused: the rollout would be refused or would save nothing, or too little is known about its traffic.
    """
    assert advice.evidence is not None
    target: dict[str, Any] = {"name": advice.workload, "consumer": use.consumer, "now": now}
    plan, refusal = plans.plan_playbook(connection, playbook, **target)
    if (fitted := fit_playbook(playbook, plan.traffic)) != playbook:
        plan, refusal = plans.plan_playbook(connection, fitted, **target)
    if refusal is not None:
        raise ActionRefused(refusal)
    return _content(fitted, figures(use, plan, advice.evidence.batch_expected_s))


def _insert(
    connection: Connection, name: str, consumer: str, content: dict[str, Any], now: datetime
) -> ProposedRollout:
    """Insert a proposal and emit `lanes.proposal.opened`."""
    values = {"workload": name, "consumer": consumer, "proposed_at": now, "at": now, **content}
    row = connection.execute(insert(proposal).values(**values).returning(proposal)).one()
    payload = {
        "proposal_id": row.id,
        "consumer": consumer,
        "playbook": row.playbook,
        "saving_usd": row.figures["saving_usd"],
        "confidence": row.figures["confidence"],
    }
    announcement = EventOut.about_workload("lanes.proposal.opened", name, payload)
    outbox.add(connection, [announcement], now=now)
    return _read(row)


def approve(
    connection: Connection, name: str, number: ProposalId, playbook: Playbook, *, by: Signature
) -> tuple[Rollout, ProposalFigures]:
    """Start the rollout of an open proposal with this playbook; return the rollout and its figures.

    A run of `migrate` has to lead the rollout.

    Raises:
        ActionRefused: the proposal is not open, the rollout cannot start, or a changed playbook would save nothing.
    """
    open_proposal = to_decide(connection, name, number)
    target: dict[str, Any] = {"name": name, "consumer": open_proposal.consumer}
    plan, _ = plans.plan_playbook(connection, playbook, **target, now=by.now)
    rollout = rollout_moves.start(connection, playbook, **target, by=by, run_id=None)
    worth = (
        open_proposal.figures
        if playbook == open_proposal.playbook
        else price_plan(open_proposal.figures, plan)
    )
    content = _content(playbook, worth)
    decided = {"state": ProposalState.APPROVED, "rollout_id": rollout.id}
    _write(connection, number, **decided, **content, who=by.who, why=by.why, at=by.now)
    return rollout, worth


def edit(
    connection: Connection, name: str, number: ProposalId, playbook: Playbook, *, by: Signature
) -> str:
    """Change the playbook of an open proposal, which stays open, and return a sentence about the result.

    Raises:
        ActionRefused: the proposal is not open, or a rollout with the playbook could not start or would save nothing.
    """
    open_proposal = to_decide(connection, name, number)
    plan, refusal = plans.plan_playbook(
        connection, playbook, name=name, consumer=open_proposal.consumer, now=by.now
    )
    if refusal is not None:
        raise ActionRefused(refusal)
    worth = price_plan(open_proposal.figures, plan)
    signed = {"who": by.who, "why": by.why, "at": by.now}
    _write(connection, number, **_content(playbook, worth), **signed)
    return f"proposal {number} saves {dollars(worth.saving_usd)} a month now; it stays open"


def decline(connection: Connection, name: str, number: ProposalId, *, by: Signature) -> str:
    """Decline an open proposal and return a sentence about the result; the proposal is not repeated for a month.

    Raises:
        ActionRefused: the proposal is not open.
    """
    found = to_decide(connection, name, number)
    signed = {"who": by.who, "why": by.why, "at": by.now}
    _write(connection, number, state=ProposalState.DECLINED, **signed)
    whose, again = f'consumer "{found.consumer}"', f"{compute_bar_end(by.now):%Y-%m-%d}"
    return f"proposal {number} is declined: nothing is proposed for {whose} before {again}"


def to_decide(connection: Connection, name: str, number: ProposalId) -> ProposedRollout:
    """Return an open proposal, and lock its workload until this transaction ends.

    Raises:
        ActionRefused: the workload has no such proposal, or it is not open.
    """
    workloads.check_known(connection, name)
    workloads.lock(connection, name)
    its = select(proposal).where(proposal.c.id == number, proposal.c.workload == name)
    row = connection.execute(its).first()
    if row is None:
        raise ActionRefused(
            f'workload "{name}" has no proposal {number}: `lanes proposals` lists them'
        )
    stored_proposal = _read(row)
    if stored_proposal.state is not ProposalState.OPEN:
        by = f" by {stored_proposal.who}" if stored_proposal.who else ""
        raise ActionRefused(
            f"proposal {number} was {stored_proposal.state}{by} at {stored_proposal.at:%Y-%m-%d %H:%M} UTC; nothing was changed"
        )
    return stored_proposal


def workload_of(connection: Connection, number: ProposalId) -> str | None:
    """Return the workload of a proposal; None if no proposal has that number."""
    its = select(proposal.c.workload).where(proposal.c.id == number)
    return connection.execute(its).scalar_one_or_none()


def listing(connection: Connection, name: str | None, *, now: datetime) -> list[ProposedRollout]:
    """Return the newest proposals of one workload or all: open ones, and those decided or withdrawn within a month."""
    columns = proposal.c
    recent = or_(columns.state == ProposalState.OPEN, columns.at > now - DECLINED_FOR)
    query = select(proposal).where(recent).order_by(columns.id.desc()).limit(LISTED)
    if name is not None:
        query = query.where(columns.workload == name)
    return [_read(row) for row in connection.execute(query)]


def _open(connection: Connection, name: str) -> dict[str, ProposedRollout]:
    """Return the open proposals of a workload by consumer."""
    its = proposal.c.workload == name, proposal.c.state == ProposalState.OPEN
    return {row.consumer: _read(row) for row in connection.execute(select(proposal).where(*its))}


def _find_declined(
    connection: Connection, name: str, consumers: Collection[str], now: datetime
) -> dict[str, str]:
    """Return a sentence by consumer for those of the consumers whose proposal was declined within a month."""
    columns = proposal.c
    its = columns.workload == name, columns.state == ProposalState.DECLINED
    recent = columns.at > now - DECLINED_FOR, columns.consumer.in_(consumers)
    rows = connection.execute(select(proposal).where(*its, *recent))
    return {
        row.consumer: f"declined by {row.who} at {row.at:%Y-%m-%d}: {row.why}; proposed again from "
        f"{compute_bar_end(row.at):%Y-%m-%d} on"
        for row in rows
    }


def _content(playbook: Playbook, worth: ProposalFigures) -> dict[str, Any]:
    content = playbook.model_dump(mode="json")
    return {"playbook": playbook.name, "content": content, "figures": asdict(worth)}


def _write(connection: Connection, number: ProposalId, **values: Any) -> ProposedRollout:
    changed = update(proposal).where(proposal.c.id == number).values(**values)
    return _read(connection.execute(changed.returning(proposal)).one())


def _read(row: Any) -> ProposedRollout:
    return ProposedRollout(
        row.id,
        row.workload,
        row.consumer,
        Playbook.model_validate(row.content),
        ProposalFigures.load(row.figures),
        row.state,
        row.who,
        row.why,
        row.proposed_at,
        row.at,
        row.rollout_id,
    )
