"""What is due is answered in time: the share that was missed of late, and what may be missed if nothing is done."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lanes.money.always_valid import Share
from lanes.promises.assessment import BATCH, REALTIME, Assessment, share_verdict
from lanes.promises.incident import Promise
from lanes.routing.load import Held, Load
from lanes.routing.prospect import percent
from lanes.routing.second_look import Doubtful
from lanes.units import clock, counted, seconds, share
from lanes.words import Lane, Verdict
from lanes.workload.version import Version

MISSED_WITHIN = timedelta(hours=1)  # what the share of missed due times looks at
CALM_FOR = timedelta(
    minutes=10
)  # nothing new is at risk for so long: what was is told as over, so that it does not flap


@dataclass(frozen=True)
class DueSeen:
    """The items of a workload whose due time was met or missed within the last hour, and those that are overdue now.

    What was due already when it arrived is none of them: nobody could have met that. `in_realtime` of those that were missed or
    are overdue had the real-time lane by their newest route.
    """

    workload: str
    met: int
    missed: int  # answered too late, or failed
    overdue: int  # due, and neither answered nor failed
    in_realtime: int


def deadline_missed(version: Version, seen: DueSeen | None) -> Assessment:
    """Judge the share of due times that were missed; None: none was due.

    A standstill of one lane explains the breach where there were none if that lane had missed none.
    """
    name, limit = version.workload, version.spec.promises.deadline_max_missed_percent
    late = 0 if seen is None else seen.missed + seen.overdue
    due = 0 if seen is None else seen.met + late
    if seen is None or not due:
        said = "No item was due in the last hour, and none is overdue."
        judged = share_verdict(Share(0, 0), limit)
        return Assessment(
            Promise.DEADLINE_MISSED,
            name,
            judged,
            0,
            limit,
            0,
            said,
            quiet=True,
            standstill=REALTIME,
        )
    part = 100 * late / due
    said = f"{late:,} of {counted(due, 'item')} that were due missed it within the last hour: {share(part / 100)}, and "
    said += f"{share(limit / 100)} is the limit."
    if seen.overdue:
        said += f" {counted(seen.overdue, 'item')} of them {'waits' if seen.overdue == 1 else 'wait'} still."
    judged = share_verdict(Share(late, due), limit)
    of_lanes = ((REALTIME, seen.in_realtime), (BATCH, late - seen.in_realtime))
    enough = (
        lane
        for lane, missed in of_lanes
        if share_verdict(Share(late - missed, due), limit) is not Verdict.FAILED
    )
    standstill = next(enough, REALTIME | BATCH)
    return Assessment(
        Promise.DEADLINE_MISSED,
        name,
        judged,
        part,
        limit,
        due,
        said,
        quiet=not late,
        standstill=standstill,
    )


@dataclass(frozen=True)
class AtRisk:
    """Open items of a workload that a batch brings back in time less surely than is asked for, and that nothing can rescue.

    `bound` of them may not leave the batch lane; `crowded` are more than the real-time lane can answer in time, which needs
    `drain_s` seconds for what waits there (None: not known); `held` is of how many more it answers nothing now, and why. The
    nearest of all is due at `due_at`, and its batch is back by then with `probability`, 0 to 1.
    """

    workload: str
    bound: int
    crowded: int
    due_at: datetime
    probability: float
    confidence: float
    drain_s: float | None = None
    held: Mapping[Held, int] = field(default_factory=dict[Held, int])

    @property
    def items(self) -> int:
        """All of them."""
        return self.bound + self.crowded + sum(self.held.values())


def risks(at_risk: Iterable[Doubtful], load: Load) -> list[AtRisk]:
    """What a second look found to be at risk, of each workload."""
    of = defaultdict[str, list[Doubtful]](list)
    for each in at_risk:
        of[each.of.version.workload].append(each)
    return [_risk(workload, each, load) for workload, each in of.items()]


def _risk(workload: str, at_risk: Sequence[Doubtful], load: Load) -> AtRisk:
    nearest = min(at_risk, key=lambda each: each.of.due_at)
    bound = sum(each.of.items for each in at_risk if each.of.binds is Lane.BATCH)
    held = Counter[Held]()
    for each in at_risk:
        if each.held is not None:
            held[each.held] += each.of.items
    crowded = sum(each.of.items for each in at_risk) - bound - held.total()
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


def deadline_at_risk(seen: AtRisk, now: datetime) -> Assessment:
    """By the items that are less sure to be in time than is asked for; one is enough."""
    said = (
        f"{counted(seen.items, 'item')} {'is less sure to meet its' if seen.items == 1 else 'are less sure to meet their'} due "
        f"time than is asked for; the nearest is due {clock(seen.due_at, beside=now)}, and its batch is back by then with "
        f"{percent(seen.probability)} ({percent(seen.confidence)} are asked for)."
    )
    judged = Verdict.FAILED if seen.items else Verdict.PASSED
    return Assessment(
        Promise.DEADLINE_AT_RISK,
        seen.workload,
        judged,
        seen.items,
        0,
        seen.items,
        said,
        why=_why_not_rescued(seen),
        standstill=_standstill(seen),
    )


def _standstill(seen: AtRisk) -> frozenset[Lane]:
    """Return which lanes would have to stand still: the batch lane for bound items, both for those without money."""
    unpaid = any(not each.outage for each in seen.held)
    return (BATCH if seen.bound or unpaid else frozenset()) | (
        REALTIME if seen.crowded or seen.held else frozenset()
    )


def nothing_at_risk(workload: str) -> str:
    """How that breach ended."""
    return f'Nothing of workload "{workload}" that is due is at risk any more: it was answered, or is overdue by now.'


def _why_not_rescued(seen: AtRisk) -> str:
    parts = list[str]()
    if seen.bound:
        parts.append(
            f"{counted(seen.bound, 'item')} {'is' if seen.bound == 1 else 'are'} bound to batch"
        )
    for held, items in seen.held.items():
        parts.append(f"real time answers nothing of {counted(items, 'item')}: {held.said}")
    if seen.crowded:
        needs = (
            ""
            if seen.drain_s is None
            else f": it needs {seconds(seen.drain_s)} for what waits there"
        )
        parts.append(
            f"{counted(seen.crowded, 'item')} would not be answered in real time either{needs}"
        )
    return "; ".join(parts)
