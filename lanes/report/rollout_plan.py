"""A rollout's plan as tables, for `lanes plan` and for the artifact of the rollout that follows the plan."""

from collections.abc import Callable
from datetime import timedelta
from math import isfinite
from typing import Any

from lanes.report.rollout import format_limit
from lanes.report.summary import lane_name
from lanes.report.table import Column, Table, figure, label, phrase, render_markdown
from lanes.rollouts.gates import confidence
from lanes.rollouts.plan import DAY_S, PlannedGate, PlannedStep, RolloutPlan
from lanes.rollouts.rollout import Rollout
from lanes.units import MISSING, clock, count, dollars, pluralize, rate, seconds, share
from lanes.words import Lane

IF_CLEAN = "samples that pass it if none is wrong or costs anything, and how long they take"
AT_HALF = "the same at half of what it tolerates, or if the lanes are alike (worse than)"
POWER = "chance, at least, that it fails in its time at twice what it tolerates"
EARLIEST = "when the gate of the step in force has these samples, if none is wrong"
FAR_DAYS = 3_650  # cap on estimates; a later time means never in practice
MOST_ROWS = 100
Placed = tuple[PlannedStep, PlannedGate]


def section(plan: RolloutPlan, under_way: Rollout) -> str:
    """Return the plan for the artifact of a rollout that is under way."""
    shown = _render_table(steps(plan, start="before")), _render_table(gates(plan, since=under_way))
    known = plan.traffic.a_day
    traffic = "The traffic is not known yet."
    if known is not None and under_way.version is not None:
        traffic = f"{rate(known)} items come a day, and each gets a version."
    elif known is not None:
        traffic = f"The split decides the lane of {rate(known)} items a day."
    return "\n\n".join(["### Plan", traffic, *shown])


def _render_table(table: Table[Any]) -> str:
    return f"**{table.title}**\n\n{render_markdown(table, most=MOST_ROWS)}\n\n{table.legend}"


def steps(plan: RolloutPlan, *, start: str = "now") -> Table[PlannedStep | None]:
    """Return the traffic and cost of each step, below a row for the share without the rollout; `start` names that row."""

    def percent(at: PlannedStep | None) -> float:
        return plan.basis_points / 100 if at is None else at.step.percent

    def hold(step: PlannedStep | None) -> str:
        if step is None:
            return MISSING
        length = pluralize(step.step.hold.items, "item")
        length += "" if step.days is None else f" in {seconds(step.days * DAY_S)}"
        return length + (", approval" if step.step.approval else "")

    receiving = plan.playbook.direction.receiving
    gets = "the new version" if receiving is None else lane_name(receiving)
    return Table(
        "Steps",
        [None, *plan.steps],
        label("Step", lambda at: start if at is None else str(at.number + 1)),
        figure(
            "Real-time" if receiving else "New version",
            "share of the items",
            lambda at: f"{percent(at):g} %",
        ),
        figure("Moved a day", f"items that {gets} gets", lambda at: _rate(at)),
        *(_cost_column(plan, lane, percent) for lane in Lane if receiving),
        phrase("Hold", "the answers that the step waits for, and its time", hold),
        note="Costs are of a day, estimated; in lambda mode with the second pass."
        if receiving
        else "What a new version costs is not known before it has answered.",
    )


def gates(plan: RolloutPlan, *, since: Rollout | None = None) -> Table[Placed]:
    """Return when each gate can decide, with its power to detect a loss; for a rollout under way, with its earliest time."""

    def earliest(at: PlannedStep, each: PlannedGate) -> str:
        days = each.estimate_days(each.fewest)
        if since is None or at.number != since.step or days is None or not isfinite(days):
            return MISSING
        began = since.step_started_at
        return clock(began + timedelta(days=min(days, FAR_DAYS)), beside=began)

    last: Column[Placed] = figure("Power", POWER, lambda each: _chance(each[1].power))
    if since is not None:
        last = figure("Earliest", EARLIEST, lambda each: earliest(*each))
    return Table[Placed](
        f"Gates, each with {confidence(plan.playbook.gate_alpha)} confidence at every look",
        [(at, each) for at in plan.steps for each in at.gates],
        label("Step", lambda each: str(each[0].number + 1)),
        label("Gate", lambda each: _name(each[1])),
        label("Limit", lambda each: format_limit(each[1].gate, plan.playbook.direction.giving)),
        figure("If clean", IF_CLEAN, lambda each: _format_passes(each[1], each[1].fewest)),
        figure("At half", AT_HALF, lambda each: _format_passes(each[1], each[1].needed_samples)),
        last,
    )


def _cost_column(
    of: RolloutPlan, lane: Lane, percent: Callable[[PlannedStep | None], float]
) -> Column[PlannedStep | None]:
    head = f"{lane_name(lane)} cost".capitalize()
    return figure(head, "", lambda at: dollars(of.usd_a_day(lane, percent(at))))


def _name(of: PlannedGate) -> str:
    return f"{of.gate.measure}, dry run" if of.gate.dry_run else of.gate.measure


def _format_passes(of: PlannedGate, samples: int | None) -> str:
    if samples is None:
        return "never"
    days = of.estimate_days(samples)
    if days is None:
        return count(samples)
    return f"{count(samples)} in {seconds(days * DAY_S)}" if isfinite(days) else "never"


def _chance(power: float | None) -> str:
    """Return a probability as text, capped so that it never appears as certain."""
    return share(None if power is None else min(power, 0.9999))


def _rate(at: PlannedStep | None) -> str:
    return MISSING if at is None or at.a_day is None else rate(at.a_day)
