"""What a batch promises to an item that is due: when it would leave, and how surely it is back by then."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from lanes.ids import VersionId
from lanes.units import counted, seconds
from lanes.workload.window import LEAD

if TYPE_CHECKING:
    from lanes.routing.turnaround import TurnaroundEvidence, Turnarounds
    from lanes.workload.version import Version


@dataclass(frozen=True, slots=True)
class BatchProfile:
    """What batches are known by: their model, and how long one usually takes, as a version says it."""

    model: str
    usual: timedelta

    @classmethod
    def of(cls, version: "Version") -> "BatchProfile":
        """Those of a version."""
        return cls(version.spec.batch_model, version.spec.usual_turnaround)


class Chance(NamedTuple):
    """The probability, 0 to 1, that the batch which an item would take is back by its due time; whether that is as sure as its
    version asks for; a sentence that tells it, and from what; and whether that batch leaves early, for the due time's sake."""

    probability: float
    enough: bool
    said: str
    early: bool = False


class Prospect:
    """The batches of one version, seen from `now`: one leaves with its schedule, one at once where a due time asks for it;
    of so many requests, where that is known."""

    def __init__(
        self,
        version: "Version",
        turnarounds: "Turnarounds",
        now: datetime,
        *,
        requests: int | None = None,
    ) -> None:
        spec = version.spec
        self.confidence, self._asked = (
            spec.confidence,
            f"; {percent(spec.confidence)} are asked for",
        )
        batches = BatchProfile.of(version)
        self._scheduled = BatchDeparture(
            batches, turnarounds, spec.window.next_departure(now) + LEAD, requests
        )
        self._early = BatchDeparture(batches, turnarounds, now + LEAD, requests)
        self._now, self._half_life_s = now, float(spec.half_life_s)
        self._lost: dict[bool, float] = {}

    @property
    def back_at(self) -> datetime:
        """When a batch that leaves as early as it can is back, with the confidence that the version asks for."""
        return self._early.back_at(self.confidence)

    @property
    def stated_back_at(self) -> datetime:
        """Return by when such a batch is back with the probability that is held against what becomes of it."""
        from lanes.routing.turnaround import STATED

        return self._early.back_at(STATED)

    @property
    def presses_until(self) -> datetime:
        """What is due from `now` until then would be late too easily, if it left with the next run of the schedule."""
        return self._scheduled.back_at(self.confidence)

    def chance(self, due_at: datetime) -> Chance:
        """Of an item that is due then. It leaves with the schedule where that is soon enough, and early where it is not."""
        probability, by = self._scheduled.back_by(due_at), self._scheduled
        if probability < self.confidence and (early := self._early.back_by(due_at)) >= probability:
            probability, by = early, self._early
        enough = probability >= self.confidence
        asked = "" if enough else self._asked
        due = due_at.isoformat(timespec="seconds")
        said = (
            f"due {due}, {by.leaves} is back by then with {percent(probability)}, {by.told}{asked}"
        )
        return Chance(probability, enough, said, early=by is self._early)

    def lost(self, *, early: bool) -> float:
        """The share, 0 to 1, of what an answer is worth now that is lost on average until a batch brings it: one that leaves
        early, or with the schedule. The wait for its departure is in it."""
        known = self._lost.get(early)
        if known is None:
            by = self._early if early else self._scheduled
            known = self._lost[early] = 1.0 - by.left(self._half_life_s, self._now)
        return known


class BatchDeparture:
    """A batch that leaves at a moment, or that left then and has been out for `out`."""

    def __init__(
        self,
        batches: BatchProfile,
        turnarounds: "Turnarounds",
        at: datetime,
        requests: int | None = None,
        *,
        out: timedelta = timedelta(0),
    ) -> None:
        self._at, self._out = at, out
        self._law = turnarounds.of(
            batches.model, leaves_at=at, usual=batches.usual, requests=requests
        )
        self.leaves = f"a batch that leaves about {at.isoformat(timespec='minutes')}"
        self.told = _told(self._law.evidence, batches.usual)

    def back_by(self, due_at: datetime) -> float:
        """Return the probability that it is back by then."""
        return self._law.by(due_at - self._at, out=self._out)

    def back_at(self, probability: float) -> datetime:
        """Return when it is back with this probability."""
        return self._at + self._law.within(probability, out=self._out)

    def left(self, half_life_s: float, now: datetime) -> float:
        """Return what is left, on average, of something that halves from now on within each half-life, when it is back."""
        return 2.0 ** (-(self._at - now).total_seconds() / half_life_s) * self._law.left(
            half_life_s
        )


class Prospects:
    """The prospects of whatever versions are asked about at `now`; each is worked out once."""

    def __init__(self, turnarounds: "Turnarounds", now: datetime) -> None:
        self._turnarounds, self._now = turnarounds, now
        self._of: dict[VersionId, Prospect] = {}

    @classmethod
    def assumed(cls, now: datetime) -> "Prospects":
        """As far as they are known where no batch was seen."""
        from lanes.routing.turnaround import Turnarounds

        return cls(Turnarounds({}, now), now)

    def of(self, version: "Version") -> Prospect:
        """The batches of that version."""
        found = self._of.get(version.id)
        if found is None:
            found = self._of[version.id] = Prospect(version, self._turnarounds, self._now)
        return found

    def of_size(self, version: "Version", requests: int) -> Prospect:
        """The batches of that version that have so many requests."""
        return Prospect(version, self._turnarounds, self._now, requests=requests)

    def underway(self, version: "Version", *, left_at: datetime, requests: int) -> BatchDeparture:
        """Return a batch of that version that is out."""
        return BatchDeparture(
            BatchProfile.of(version), self._turnarounds, left_at, requests, out=self._now - left_at
        )


def percent(probability: float) -> str:
    """Rounded down to tenths of a per cent, so that nothing is told as certain."""
    return f"{int(probability * 1000 + 1e-9) / 10:g} %"


def _told(evidence: "TurnaroundEvidence", usual: timedelta) -> str:
    if evidence.age is None:
        return f"as {seconds(usual.total_seconds())} are assumed before any was seen"
    return f"by {counted(evidence.batches, 'batch')} that left {seconds(evidence.age.total_seconds())} ago on average"


# Items that go to a batch are told high probabilities: there the bins are narrow.
EDGES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)


@dataclass(frozen=True)
class StatedBin:
    """What was stated to some items of a workload within one bin, the n-th between two `EDGES` from 1 on.

    `stated` and `squares` are sums over these items: of the probabilities, and of the squares of what they were off by.
    """

    workload: str
    bin: int
    items: int
    back: int
    stated: float
    squares: float


@dataclass(frozen=True)
class Bin:
    """The items that were told a probability from `low` to below `high`: its mean, and the share whose batch was back."""

    low: float
    high: float
    items: int
    stated: float
    back: float


@dataclass(frozen=True)
class Calibration:
    """How right the probabilities of a workload were. `brier` is the mean square of what they were off by: 0 is perfect, 0.25
    is what saying one half of everything would get."""

    workload: str
    items: int
    stated: float
    back: float
    brier: float
    bins: Sequence[Bin]


def calibrations(told: Iterable[StatedBin]) -> list[Calibration]:
    """That of each workload, by name; none of one without items."""
    ordered = sorted(
        (each for each in told if each.items), key=lambda each: (each.workload, each.bin)
    )
    return [
        _of(workload, list(rows))
        for workload, rows in groupby(ordered, key=lambda each: each.workload)
    ]


def _of(workload: str, told: Sequence[StatedBin]) -> Calibration:
    items = sum(each.items for each in told)
    bins = [
        Bin(
            EDGES[each.bin - 1],
            EDGES[each.bin],
            each.items,
            each.stated / each.items,
            each.back / each.items,
        )
        for each in told
    ]
    return Calibration(
        workload,
        items,
        stated=sum(each.stated for each in told) / items,
        back=sum(each.back for each in told) / items,
        brier=sum(each.squares for each in told) / items,
        bins=bins,
    )
