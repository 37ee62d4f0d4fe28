"""Monthly overheads of the lanes beside the provider's bill: dated amounts that people set, with assumptions before.

An amount belongs to one workload, or to every workload without its own; the newest that is dated at or before a day is in
force on it. Amounts are US dollars a month.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from lanes.units import dollars, usd
from lanes.words import Lane

MOST_USD = Decimal(1_000_000_000)
EVERY = "*"  # the name for every workload without an amount of its own; no workload is called that


class OverheadKind(StrEnum):
    """A kind of cost beside the provider's bill."""

    INFRASTRUCTURE = "infrastructure"  # what it runs on
    ENGINEERING = "engineering"  # the work that keeps it running


# In force until a person sets the amounts. The work is an hour on real time and four on batch, at 100 dollars each.
ASSUMED_USD = {
    (Lane.REALTIME, OverheadKind.INFRASTRUCTURE): Decimal(20),
    (Lane.REALTIME, OverheadKind.ENGINEERING): Decimal(100),
    (Lane.BATCH, OverheadKind.INFRASTRUCTURE): Decimal(50),
    (Lane.BATCH, OverheadKind.ENGINEERING): Decimal(400),
}


@dataclass(frozen=True)
class Overhead:
    """A lane's monthly cost of one kind from a day on; `workload` None stands for every workload without its own."""

    workload: str | None
    lane: Lane
    kind: OverheadKind
    monthly_usd: Decimal
    from_date: date

    @property
    def name(self) -> str:
        """Return its workload, lane and kind."""
        whose = "every workload without its own" if self.workload is None else self.workload
        return f"{whose}, {self.lane}, {self.kind}"

    @property
    def sentence(self) -> str:
        """Say it as a sentence."""
        return f"{self.name}: {usd(self.monthly_usd)} a month from {self.from_date} on"


@dataclass(frozen=True)
class DatedOverhead:
    """An overhead as it was set, by whom, why and when. Rows never change: a later one takes over."""

    overhead: Overhead
    who: str
    why: str
    set_at: datetime


@dataclass(frozen=True)
class Overheads:
    """The monthly overheads of both lanes."""

    realtime_infra_usd: float = float(ASSUMED_USD[Lane.REALTIME, OverheadKind.INFRASTRUCTURE])
    realtime_engineering_usd: float = float(ASSUMED_USD[Lane.REALTIME, OverheadKind.ENGINEERING])
    batch_infra_usd: float = float(ASSUMED_USD[Lane.BATCH, OverheadKind.INFRASTRUCTURE])
    batch_engineering_usd: float = float(ASSUMED_USD[Lane.BATCH, OverheadKind.ENGINEERING])
    assumed: tuple[tuple[Lane, OverheadKind], ...] = tuple(ASSUMED_USD)  # never set

    @property
    def sentence(self) -> str:
        """Say them as a sentence."""
        return f"keeping the lanes takes beside that, a month: {'; '.join(self.of(lane) for lane in Lane)}"

    def of(self, lane: Lane) -> str:
        """Say a lane's overheads by kind."""
        kinds = {
            OverheadKind.INFRASTRUCTURE: self.infra_usd(lane),
            OverheadKind.ENGINEERING: self.engineering_usd(lane),
        }
        parts = (
            f"{dollars(usd)} {kind}" + (" (assumed)" if (lane, kind) in self.assumed else "")
            for kind, usd in kinds.items()
        )
        return f"{lane} {dollars(self.monthly_usd(lane))}: {', '.join(parts)}"

    def monthly_usd(self, lane: Lane) -> float:
        """Return the sum of a lane."""
        return self.infra_usd(lane) + self.engineering_usd(lane)

    def infra_usd(self, lane: Lane) -> float:
        """Return a lane's infrastructure cost."""
        return self.realtime_infra_usd if lane is Lane.REALTIME else self.batch_infra_usd

    def engineering_usd(self, lane: Lane) -> float:
        """Return a lane's engineering cost."""
        return (
            self.realtime_engineering_usd if lane is Lane.REALTIME else self.batch_engineering_usd
        )


def in_force(rows: Iterable[DatedOverhead], workload: str, day: date) -> Overheads:
    """Return a workload's overheads on that day; `rows` come in the order in which they were set.

    Its own amount precedes that of every workload; of two of one day the later one counts.
    """
    dated = [
        each.overhead
        for each in rows
        if each.overhead.from_date <= day and each.overhead.workload in (None, workload)
    ]
    newest = {
        (each.lane, each.kind): each
        for each in sorted(dated, key=lambda each: (each.workload is not None, each.from_date))
    }

    def amount(lane: Lane, kind: OverheadKind) -> float:
        there = newest.get((lane, kind))
        return float(ASSUMED_USD[lane, kind] if there is None else there.monthly_usd)

    return Overheads(
        amount(Lane.REALTIME, OverheadKind.INFRASTRUCTURE),
        amount(Lane.REALTIME, OverheadKind.ENGINEERING),
        amount(Lane.BATCH, OverheadKind.INFRASTRUCTURE),
        amount(Lane.BATCH, OverheadKind.ENGINEERING),
        tuple(each for each in ASSUMED_USD if each not in newest),
    )


def refusal(overhead: Overhead, *, today: date) -> str | None:
    """Return why the amount cannot be set, None when it can."""
    if not overhead.monthly_usd.is_finite() or not 0 <= overhead.monthly_usd <= MOST_USD:
        return (
            f"an overhead is 0 to {MOST_USD:,} US dollars a month, and not {overhead.monthly_usd:,}"
        )
    if overhead.from_date > today:
        return f"{overhead.from_date} is after today ({today}, UTC): set it on that day"
    return None
