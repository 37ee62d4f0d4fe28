"""Monthly overheads of the lanes, in addition to the provider's bill: dated amounts that people set, assumed until then.

An amount applies to one workload, or to every workload without its own. On a given day, the newest amount dated on or before
that day is in force. Amounts are in US dollars a month.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from lanes.units import dollars, usd
from lanes.words import Lane

MOST_USD = Decimal(1_000_000_000)
EVERY = "*"  # stands for every workload without an amount of its own; no workload has this name


class OverheadKind(StrEnum):
    """A kind of cost in addition to the provider's bill."""

    INFRASTRUCTURE = "infrastructure"  # the systems that the lane runs on
    ENGINEERING = "engineering"  # the work that keeps it running


# In force until a person sets the amounts. The work is an hour a month on real time and four on batch, at 100 dollars an hour.
ASSUMED_USD = {
    (Lane.REALTIME, OverheadKind.INFRASTRUCTURE): Decimal(20),
    (Lane.REALTIME, OverheadKind.ENGINEERING): Decimal(100),
    (Lane.BATCH, OverheadKind.INFRASTRUCTURE): Decimal(50),
    (Lane.BATCH, OverheadKind.ENGINEERING): Decimal(400),
}


@dataclass(frozen=True)
class Overhead:
    """A lane's monthly cost of one kind from a given day; `workload` None stands for every workload without its own."""

    workload: str | None
    lane: Lane
    kind: OverheadKind
    monthly_usd: Decimal
    from_date: date

    @property
    def name(self) -> str:
        """Return the overhead's workload, lane and kind."""
        whose = "every workload without its own" if self.workload is None else self.workload
        return f"{whose}, {self.lane}, {self.kind}"

    @property
    def sentence(self) -> str:
        """Return the overhead as a sentence."""
        return f"{self.name}: {usd(self.monthly_usd)} a month from {self.from_date} on"


@dataclass(frozen=True)
class DatedOverhead:
    """An overhead with who set it, why and when. Rows never change: a later row replaces an earlier one."""

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
    # The amounts that no person has set.
    assumed: tuple[tuple[Lane, OverheadKind], ...] = tuple(ASSUMED_USD)

    @property
    def sentence(self) -> str:
        """Return the overheads of both lanes as a sentence."""
        return f"keeping the lanes takes beside that, a month: {'; '.join(self.of(lane) for lane in Lane)}"

    def of(self, lane: Lane) -> str:
        """Return a lane's overheads by kind, as text."""
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
        """Return a lane's total overhead."""
        return self.infra_usd(lane) + self.engineering_usd(lane)

    def infra_usd(self, lane: Lane) -> float:
        """Return a lane's infrastructure cost."""
        return self.realtime_infra_usd if lane is Lane.REALTIME else self.batch_infra_usd

    def engineering_usd(self, lane: Lane) -> float:
        """Return a lane's engineering cost."""
        return (
            self.realtime_engineering_usd if lane is Lane.REALTIME else self.batch_engineering_usd
        )


def select_in_force(rows: Iterable[DatedOverhead], workload: str, day: date) -> Overheads:
    """Return a workload's overheads on a day; `rows` must be in the order in which they were set.

    The workload's own amount takes precedence over the one for every workload; of two amounts of one day the later one counts.
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
    """Return why the amount cannot be set; None if it can."""
    if not overhead.monthly_usd.is_finite() or not 0 <= overhead.monthly_usd <= MOST_USD:
        return (
            f"an overhead is 0 to {MOST_USD:,} US dollars a month, and not {overhead.monthly_usd:,}"
        )
    if overhead.from_date > today:
        return f"{overhead.from_date} is after today ({today}, UTC): set it on that day"
    return None
