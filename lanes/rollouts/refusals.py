"""The reasons why a rollout may not begin or advance, or a person may not set its split."""

from collections.abc import Iterable
from math import ceil, inf

from lanes.promises.incident import TERMS, Incident, IncidentState, Promise, Severity, lane_of
from lanes.rollouts.gates import MEANS
from lanes.rollouts.plan import DAY_S, MINUTES_A_DAY, PlannedStep, RolloutPlan
from lanes.rollouts.playbook import LONGEST_MINUTES, Direction, Playbook
from lanes.rollouts.rollout import Rollout
from lanes.statistics.shares import SampleShare, excludes
from lanes.units import pluralize, rate, seconds
from lanes.words import Lane, Mode, Verdict

MISMATCH_ALPHA = 0.001  # probability of ever reporting a mismatch that is only chance
MISMATCH = 0.001  # the smallest relevant difference between sample ratio and split


def refuse_start(
    plan: RolloutPlan,
    *,
    mode: Mode,
    values: bool,
    present: Rollout | None,
    leaves_out: bool = False,
) -> str | None:
    """Return the reason why a rollout by this plan cannot begin, None if it can.

    `values`: the workload states the value of an answer. `leaves_out`: some early answers get no second pass. `present` is the
    workload's open rollout.
    """
    playbook, workload = plan.playbook, plan.workload
    if present is not None:
        return (
            f'workload "{workload}" has an open rollout already: {present.id}, playbook "{present.playbook.name}", started '
            f"by {present.started_by} at {present.started_at:%Y-%m-%d %H:%M} UTC; let it end, or "
            f"run `lanes rollout abort {workload}`"
        )
    if playbook.direction is Direction.VERSION and plan.consumer is not None:
        return (
            f'playbook "{playbook.name}" moves a version for every consumer: leave out the consumer'
        )
    if values and playbook.direction is not Direction.VERSION:
        return (
            f'workload "{workload}" states what an answer is worth (value_usd), and that decides before the split: no step of '
            f'playbook "{playbook.name}" would move an item; set value_usd to 0, or leave it to the value'
        )
    confirming = playbook.confirming
    if confirming is not None and mode is not Mode.LAMBDA:
        return (
            f'playbook "{playbook.name}" has a gate on {confirming}, but workload "{workload}" is not in lambda mode: nothing '
            "compares its answers; remove the gate, change the mode, or add `shadows` to the playbook"
        )
    if confirming is not None and leaves_out:
        return (
            f'playbook "{playbook.name}" has a gate on {confirming}, but workload "{workload}" leaves out second passes '
            "(second_pass): those that it has are no fair sample; remove the gate, or add `shadows` to the playbook"
        )
    if plan.first is None:
        return (
            f'workload "{workload}" sends {plan.basis_points / 100:g} % to real-time already: no step of playbook '
            f'"{playbook.name}" goes further; choose another playbook or set the split with `lanes split`'
        )
    if (lacking := _refuse_unready(plan)) is not None:
        return lacking
    return next(filter(None, (_refuse_short_step(plan, step) for step in plan.steps)), None)


def _refuse_unready(plan: RolloutPlan) -> str | None:
    """Return a sentence about the playbook's unmet preconditions on the batch lane, None if all are met."""
    before, readiness = plan.playbook.before, plan.before
    if before is None or readiness is None:
        return None
    reasons = [
        f"{each.gate.measure} is {each.verdict.value}, {each.explanation}"
        for each in readiness.judgements
        if not each.gate.dry_run and each.verdict is not Verdict.PASSED
    ]
    if before.batches is not None and readiness.batches < before.batches:
        reasons.append(f"{readiness.batches} of {pluralize(before.batches, 'batch')} came back")
    elif readiness.late:
        are = "is" if readiness.late == 1 else "are"
        reasons.append(
            f"{readiness.late} of the newest {pluralize(readiness.batches, 'batch')} {are} not back in time with every result"
        )
    if not reasons:
        return None
    return (
        f'the batch lane does not keep what playbook "{plan.playbook.name}" asks for before it begins, in the last '
        f"{pluralize(before.days, 'day')}: {'; '.join(reasons)}. Let it gather evidence, or change `before`"
    )


def _refuse_short_step(plan: RolloutPlan, step: PlannedStep) -> str | None:
    """Return the reason why the step cannot gather enough evidence in its time, even if no item is wrong; None if it can."""
    unpaid = next((each for each in step.gates if not each.gate.dry_run and each.is_unpaid), None)
    if unpaid is not None:
        number = "more pairs" if unpaid.fewest is None else pluralize(unpaid.fewest, "pair")
        return (
            f'step {step.number + 1} of playbook "{plan.playbook.name}" cannot pass: {unpaid.gate.measure} needs {number} of '
            f"answers even if none is wrong, and the budget of its shadows pays for about {rate(unpaid.pairs or 0.0)}: raise "
            "shadows.budget_usd, loosen the limit, or try the gate with `dry_run: true`"
        )
    if step.days is None or step.a_day is None or step.days_for_items is None:
        return None
    lacking = list[tuple[float, float, str, float, str]]()
    if step.days_for_items > step.days:
        waits = f"it waits for {pluralize(step.step.hold.items, 'item')}"
        lacking.append((step.days_for_items, step.days, waits, step.a_day, "the step holds"))
    for each in step.gates:
        if not each.gate.dry_run and not each.is_reachable:
            number = "more samples" if each.fewest is None else pluralize(each.fewest, "sample")
            at_best = "costs anything" if each.gate.measure in MEANS else "is wrong"
            needs = f"{each.gate.measure} needs {number} even if none {at_best}"
            holds = "the step holds" if each.pairs is None else "the rollout holds until its end"
            takes, held = each.estimate_days(each.fewest) or inf, each.days or step.days
            lacking.append((takes, held, needs, each.a_day or 0.0, holds))
    if not lacking:
        return None
    days, held, needs, a_day, holds = max(lacking)
    takes = "never enough" if days == inf else f"which takes {seconds(days * DAY_S)}"
    minutes = (step.days + days - held) * MINUTES_A_DAY
    longer = "leave out at_most_minutes"
    if minutes <= LONGEST_MINUTES:
        longer = f"hold longer (at_most_minutes: {ceil(minutes)})"
    return (
        f'step {step.number + 1} of playbook "{plan.playbook.name}" cannot pass in its time: {needs}. At today\'s traffic '
        f"{rate(a_day)} a day come, {takes}, and {holds} for {seconds(held * DAY_S)}: {longer}, move a larger "
        "share, loosen the limit, send more traffic, or try the gate with `dry_run: true`"
    )


def sample_ratio_mismatch(
    moved: SampleShare, basis_points: int, to: str = "real time"
) -> str | None:
    """Return a sentence if the observed share of real time, or of a version, surely differs from the split by 0.1 points.

    In that case something other than the split chose between the two sides, so they cannot be compared. The test is valid at
    every look.
    """
    wanted = basis_points / 10_000
    if moved.value is None or abs(moved.value - wanted) < MISMATCH:
        return None
    if not excludes(moved, wanted, alpha=MISMATCH_ALPHA):
        return None
    return (
        f"the split sends {wanted:.2%} to {to}, but {moved.value:.2%} of {moved.samples:,} items and entities went there: "
        f"something else than the split chooses, so the {'lanes' if to == 'real time' else 'versions'} cannot be compared"
    )


def refuse_order(plan: RolloutPlan, *, ordered: int | None, candidate: int | None) -> str | None:
    """Return the reason why a rollout of version `ordered` (None: between lanes) cannot begin with this `candidate`, if any."""
    playbook, workload = plan.playbook, plan.workload
    if playbook.direction is not Direction.VERSION:
        if ordered is None:
            return None
        return explain_wrong_kind(playbook)
    if candidate is None:
        return explain_no_candidate(plan)
    if ordered is None:
        return (
            f'playbook "{playbook.name}" moves a new version: `lanes publish FILE --canary {playbook.name}` starts it, or name '
            f"the version in the form of `migrate`; version {candidate} is the candidate"
        )
    if ordered != candidate:
        return f'version {ordered} of workload "{workload}" is not its candidate, which is version {candidate}'
    return None


def explain_wrong_kind(playbook: Playbook) -> str:
    """Return the reason why a playbook that moves traffic between the lanes cannot serve a canary."""
    return (
        f'playbook "{playbook.name}" moves traffic between the lanes, not to a version: choose one of direction version, '
        "such as new-version, or start it with `lanes rollout start`"
    )


def explain_no_candidate(plan: RolloutPlan) -> str:
    """Return the reason why a rollout towards a version cannot begin without a candidate version."""
    return (
        f'workload "{plan.workload}" has no candidate version: `lanes publish FILE --canary {plan.playbook.name}` stores one '
        "and starts the rollout"
    )


def refuse_split(workload: str, consumer: str | None, present: Rollout | None) -> str | None:
    """Return the reason why a person cannot set the split while `present` is the workload's open rollout; None if allowed."""
    if present is None or present.version is not None or present.consumer != consumer:
        return None
    return (
        f'the split of workload "{workload}" is moved by rollout {present.id} (playbook '
        f'"{present.playbook.name}"): abort the rollout first, or let it end'
    )


def select_hindering(incidents: Iterable[Incident], receiving: Lane | None) -> list[Incident]:
    """Return the open critical incidents that stop a rollout towards this lane: those of the lane, and those of no single lane.

    If `receiving` is None, the rollout moves to a version, and the critical incidents of every lane stop it.
    """
    return [
        each
        for each in incidents
        if _is_critical(each) and (receiving is None or lane_of(each.promise) in (None, receiving))
    ]


def sentences(incidents: Iterable[Incident]) -> list[str]:
    """Return a sentence about each incident, for a rollout that holds."""
    return [
        f"critical incident {each.id} is open: {TERMS[Promise(each.promise)].title}"
        for each in incidents
    ]


def _is_critical(incident: Incident) -> bool:
    return incident.state is IncidentState.OPEN and incident.severity is Severity.CRITICAL
