"""Promises about due times: the share of recently missed due times, and the items that are likely to miss theirs."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lanes.promises.assessment import BATCH, NOWHERE, REALTIME, Assessment, share_verdict
from lanes.promises.incident import Promise
from lanes.routing.load import Load, UnservedReason
from lanes.routing.prospect import percent
from lanes.routing.second_look import DoubtfulItem
from lanes.statistics.shares import SampleShare
from lanes.units import clock, pluralize, seconds, share
from lanes.words import Lane, Verdict
from lanes.workload.version import Version

MISSED_WITHIN = timedelta(hours=1)  # the window of the share of missed due times
# time without new items at risk before the incident ends, against flapping
CALM_FOR = timedelta(minutes=10)


@dataclass(frozen=True)
class DueCounts:
    """The items of a workload that met or missed their due time within the last hour, and those that are overdue now.

    Items that were due before they arrived do not count. `in_realtime` is the number of missed and overdue items whose newest
    route chose real time. `in_batch` has, by the reason of the newest route, the number of missed and of all due items for
    which it chose a batch.
    """

    workload: str
    met: int
    missed: int  # answered too late, or failed
    overdue: int  # due, and neither answered nor failed
    in_realtime: int
    in_batch: Mapping[str, Sequence[int]] = field(default_factory=dict[str, Sequence[int]])


def deadline_missed(version: Version, counts: DueCounts | None) -> Assessment:
    """Assess the share of missed due times, of all items and of the items for which one reason chose a batch.

    A standstill of one lane explains the breach if the promise would be kept without the misses of that lane.
    """
    name, limit = version.workload, version.spec.promises.deadline_max_missed_percent
    promise, late = Promise.DEADLINE_MISSED, 0 if counts is None else counts.missed + counts.overdue
    due = 0 if counts is None else counts.met + late
    if counts is None or not due:
        sentence = "No item was due in the last hour, and none is overdue."
        figures = share_verdict(SampleShare(0, 0), limit), 0, limit, 0, sentence
        return Assessment(promise, name, *figures, quiet=True, standstill=REALTIME)
    part = 100 * late / due
    sentence = f"{late:,} of {pluralize(due, 'item')} that were due missed it within the last hour: {share(part / 100)}, and "
    sentence += f"{share(limit / 100)} is the limit."
    if counts.overdue:
        sentence += f" {pluralize(counts.overdue, 'item')} of them still {'waits' if counts.overdue == 1 else 'wait'}."
    of_lanes = ((REALTIME, counts.in_realtime), (BATCH, late - counts.in_realtime))
    enough = (
        lane
        for lane, missed in of_lanes
        if share_verdict(SampleShare(late - missed, due), limit) is not Verdict.FAILED
    )
    standstill = next(enough, REALTIME | BATCH)
    verdict = share_verdict(SampleShare(late, due), limit)
    for reason, routed in counts.in_batch.items():
        misrouted = SampleShare(*routed)
        if share_verdict(misrouted, limit) is Verdict.FAILED:
            sentence += f" `{reason}` chose a batch for {pluralize(misrouted.samples, 'item')} of them, and "
            sentence += f"{misrouted.hits:,} of these missed it: {share(misrouted.value)}."
            if verdict is not Verdict.FAILED:
                verdict, part, standstill = Verdict.FAILED, 100 * (misrouted.value or 0), BATCH
    figures = verdict, part, limit, due, sentence
    return Assessment(promise, name, *figures, quiet=not late, standstill=standstill)


@dataclass(frozen=True)
class AtRisk:
    """Open items of a workload whose batch is less likely to be in time than required, and that cannot be rescued.

    `bound` items may not leave the batch lane; `crowded` items are more than the real-time lane can answer in time, which needs
    `drain_s` seconds for its waiting work; `held` counts the items that real time does not answer now, by reason. The nearest
    item is due at `due_at`, and its batch is back by then with `probability`, 0 to 1.
    """

    workload: str
    bound: int
    crowded: int
    due_at: datetime
    probability: float
    confidence: float
    drain_s: float | None = None
    held: Mapping[UnservedReason, int] = field(default_factory=dict[UnservedReason, int])

    @property
    def items(self) -> int:
        """Return the number of all items at risk."""
        return self.bound + self.crowded + sum(self.held.values())


def risks(at_risk: Iterable[DoubtfulItem], load: Load) -> list[AtRisk]:
    """Group the items that a second look found at risk by workload."""
    by_workload = defaultdict[str, list[DoubtfulItem]](list)
    for each in at_risk:
        by_workload[each.of.version.workload].append(each)
    return [_risk(workload, each, load) for workload, each in by_workload.items()]


def _risk(workload: str, at_risk: Sequence[DoubtfulItem], load: Load) -> AtRisk:
    nearest = min(at_risk, key=lambda item: item.of.due_at)
    bound = sum(item.of.items for item in at_risk if item.of.binds is Lane.BATCH)
    held = Counter[UnservedReason]()
    for item in at_risk:
        if item.held is not None:
            held[item.held] += item.of.items
    crowded = sum(item.of.items for item in at_risk) - bound - held.total()
    return AtRisk(
        workload,
        bound,
        crowded,
        nearest.of.due_at,
        nearest.probability,
        nearest.of.version.spec.confidence,
        load.drain_s(workload, nearest.model) if crowded else None,
        held,
    )


def deadline_at_risk(risk: AtRisk, now: datetime) -> Assessment:
    """Assess the items that are less likely to be in time than required; one item is enough for a breach."""
    one = risk.items == 1
    sentence = (
        f"{pluralize(risk.items, 'item')} {'is less likely to meet its' if one else 'are less likely to meet their'} due time "
        f"than required; the nearest is due {clock(risk.due_at, beside=now)}, and its batch has a {percent(risk.probability)} "
        f"chance of being back by then ({percent(risk.confidence)} is required)."
    )
    judged = Verdict.FAILED if risk.items else Verdict.PASSED
    unpaid = any(not each.outage for each in risk.held)
    standstill = (BATCH if risk.bound or unpaid else NOWHERE) | (
        REALTIME if risk.crowded or risk.held else NOWHERE
    )
    promise, figures = Promise.DEADLINE_AT_RISK, (judged, risk.items, 0, risk.items, sentence)
    why = _why_not_rescued(risk)
    return Assessment(promise, risk.workload, *figures, why=why, standstill=standstill)


def describe_end(workload: str) -> str:
    """Return the sentence that ends the incident about items at risk."""
    return (
        f'No due item of workload "{workload}" is still at risk: all were answered or are overdue.'
    )


def _why_not_rescued(risk: AtRisk) -> str:
    parts = list[str]()
    if risk.bound:
        parts.append(
            f"{pluralize(risk.bound, 'item')} {'is' if risk.bound == 1 else 'are'} bound to batch"
        )
    for held, items in risk.held.items():
        parts.append(f"real time answers nothing of {pluralize(items, 'item')}: {held.sentence}")
    if risk.crowded:
        busy = (
            ""
            if risk.drain_s is None
            else f": it needs {seconds(risk.drain_s)} for what waits there"
        )
        parts.append(
            f"{pluralize(risk.crowded, 'item')} would not be answered in real time either{busy}"
        )
    return "; ".join(parts)
