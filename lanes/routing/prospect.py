"""The prospect of a batch for an item with a due time: its departure, and the probability that it is back in time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from lanes.ids import VersionId
from lanes.units import pluralize, seconds
from lanes.workload.window import LEAD

if TYPE_CHECKING:
    from lanes.routing.turnaround import Turnaround, TurnaroundEvidence, Turnarounds
    from lanes.workload.version import Version

# number of batches back from which their distribution decides when a batch is late
ENOUGH_BACK = 20


@dataclass(frozen=True, slots=True)
class BatchProfile:
    """The model of a version's batches, and their usual turnaround."""

    model: str
    usual: timedelta

    @classmethod
    def of(cls, version: "Version") -> "BatchProfile":
        """Return the profile of a version."""
        return cls(version.spec.batch_model, version.spec.usual_turnaround)


class Chance(NamedTuple):
    """The probability, 0 to 1, that an item's batch is back by its due time.

    `enough` is true if the probability reaches the version's confidence, `explanation` is a sentence, `early` is true if the
    batch leaves ahead of its schedule because of the due time.
    """

    probability: float
    enough: bool
    explanation: str
    early: bool = False


class Prospect:
    """The next batches of one version as of `now`: one that leaves on schedule, and one that leaves at once for a due time."""

    def __init__(
        self,
        version: "Version",
        turnarounds: "Turnarounds",
        now: datetime,
        *,
        requests: int | None = None,
    ) -> None:
        spec = version.spec
        self.confidence = spec.confidence
        self._asked = f"; {percent(spec.confidence)} is required"
        batches = BatchProfile.of(version)
        self._scheduled = BatchDeparture(
            batches, turnarounds, spec.window.next_departure(now) + LEAD, requests
        )
        self._early = BatchDeparture(batches, turnarounds, now + LEAD, requests)
        self._now, self._half_life_s = now, float(spec.half_life_s)
        self._lost: dict[bool, float] = {}
        # the chance of the last due time and its time zone: the router's items are ordered by due time
        self._known: tuple[tuple[datetime, object], Chance] | None = None

    @property
    def back_at(self) -> datetime:
        """Return when a batch that leaves as early as possible is back, with the version's confidence."""
        return self._early.back_at(self.confidence)

    @property
    def stated_back_at(self) -> datetime:
        """Return when a batch that leaves as early as possible is back, with the probability that calibration checks."""
        from lanes.routing.turnaround import STATED

        return self._early.back_at(STATED)

    @property
    def presses_until(self) -> datetime:
        """Return the due time before which a scheduled departure is too risky."""
        return self._scheduled.back_at(self.confidence)

    @property
    def scheduled_departure(self) -> "BatchDeparture":
        """Return the batch that leaves on schedule."""
        return self._scheduled

    def chance(self, due_at: datetime) -> Chance:
        """Return the chance of an item due at `due_at`, on the scheduled batch if that suffices, else on an early one."""
        asked = due_at, due_at.tzinfo
        if self._known is not None and self._known[0] == asked:
            return self._known[1]
        probability, departure = self._scheduled.back_by(due_at), self._scheduled
        if probability < self.confidence and (early := self._early.back_by(due_at)) >= probability:
            probability, departure = early, self._early
        enough = probability >= self.confidence
        required = "" if enough else self._asked
        due = due_at.isoformat(timespec="seconds")
        explanation = f"{percent(probability)} chance that {departure.leaves} is back by {due}, {departure.told}{required}"
        chance = Chance(probability, enough, explanation, early=departure is self._early)
        self._known = asked, chance
        return chance

    def compute_loss(self, *, early: bool) -> float:
        """Return the mean share of an answer's value, 0 to 1, that is lost between now and the return of its batch."""
        known = self._lost.get(early)
        if known is None:
            by = self._early if early else self._scheduled
            known = self._lost[early] = 1.0 - by.compute_remainder(self._half_life_s, self._now)
        return known


class BatchDeparture:
    """A batch that leaves at `at`, or that left at `at` and has been out for `out`."""

    def __init__(
        self,
        batches: BatchProfile,
        turnarounds: "Turnarounds",
        at: datetime,
        requests: int | None = None,
        *,
        out: timedelta = timedelta(0),
    ) -> None:
        self._at, self.out = at, out
        self._learned = partial(
            turnarounds.of, batches.model, leaves_at=at, usual=batches.usual, requests=requests
        )
        self.law = self._learned()
        self.leaves = f"a batch that leaves about {at.isoformat(timespec='minutes')}"
        self.told = _describe_evidence(self.law.evidence, batches.usual)

    @property
    def usual_law(self) -> "Turnaround":
        """Return the distribution that decides when a batch is late; a slowdown changes it only after enough slow batches."""
        return self._learned(least_back=ENOUGH_BACK)

    def back_by(self, due_at: datetime) -> float:
        """Return the probability that the batch is back by `due_at`."""
        return self.law.by(due_at - self._at, out=self.out)

    def back_at(self, probability: float) -> datetime:
        """Return when the batch is back with this probability."""
        return self._at + self.law.within(probability, out=self.out)

    @property
    def expected_at(self) -> datetime:
        """Return the median of the return time, given how long the batch has been out."""
        return self.back_at(0.5)

    def compute_remainder(self, half_life_s: float, now: datetime) -> float:
        """Return the mean fraction of a value that remains when the batch is back, if it halves every half-life from `now`."""
        return 2.0 ** (
            -(self._at - now).total_seconds() / half_life_s
        ) * self.law.compute_remainder(half_life_s)


class Prospects:
    """The prospects of all versions at `now`, each computed once."""

    def __init__(self, turnarounds: "Turnarounds", now: datetime) -> None:
        self._turnarounds, self._now = turnarounds, now
        self._of: dict[VersionId, Prospect] = {}

    @classmethod
    def assume(cls, now: datetime) -> "Prospects":
        """Return prospects without any observed batch."""
        from lanes.routing.turnaround import Turnarounds

        return cls(Turnarounds({}, now), now)

    def of(self, version: "Version") -> Prospect:
        """Return the prospect of a version."""
        found = self._of.get(version.id)
        if found is None:
            found = self._of[version.id] = Prospect(version, self._turnarounds, self._now)
        return found

    def for_size(self, version: "Version", requests: int) -> Prospect:
        """Return the prospect of a version's batches with this number of requests."""
        return Prospect(version, self._turnarounds, self._now, requests=requests)

    def underway(
        self, of: "Version | BatchProfile", *, left_at: datetime, requests: int
    ) -> BatchDeparture:
        """Return a batch in flight of a version or a profile."""
        batches = of if isinstance(of, BatchProfile) else BatchProfile.of(of)
        return BatchDeparture(
            batches, self._turnarounds, left_at, requests, out=self._now - left_at
        )


def percent(probability: float) -> str:
    """Format a probability, rounded down to tenths of a per cent so that nothing is stated as certain."""
    return f"{int(probability * 1000 + 1e-9) / 10:g} %"


def _describe_evidence(evidence: "TurnaroundEvidence", usual: timedelta) -> str:
    if evidence.age is None:
        return f"assuming {seconds(usual.total_seconds())} before any batch was observed"
    average = " on average" if evidence.batches > 1 else ""
    age = seconds(evidence.age.total_seconds())
    return f"judged by {pluralize(evidence.batches, 'batch')} that left {age} ago{average}"


# Items that go to a batch have high probabilities, so the bins are narrow there.
EDGES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)


@dataclass(frozen=True)
class StatedBin:
    """The items of a workload whose stated probabilities fall into one bin; bin n, from 1, is the n-th between two `EDGES`.

    `stated` is the sum of the probabilities of these items, `squares` the sum of their squared errors.
    """

    workload: str
    bin: int
    items: int
    back: int
    stated: float
    squares: float


@dataclass(frozen=True)
class Bin:
    """Items with a stated probability from `low` to below `high`: the mean probability, and the share whose batch was back."""

    low: float
    high: float
    items: int
    stated: float
    back: float


@dataclass(frozen=True)
class Calibration:
    """The accuracy of a workload's stated probabilities.

    `brier` is their mean squared error: 0 is perfect, and 0.25 is the score of always stating one half.
    """

    workload: str
    items: int
    stated: float
    back: float
    brier: float
    bins: Sequence[Bin]


def calibrations(stated_bins: Iterable[StatedBin]) -> list[Calibration]:
    """Return the calibration of each workload with items, by name."""
    ordered = sorted(
        (each for each in stated_bins if each.items), key=lambda each: (each.workload, each.bin)
    )
    return [
        _of(workload, list(rows))
        for workload, rows in groupby(ordered, key=lambda each: each.workload)
    ]


def _of(workload: str, stated_bins: Sequence[StatedBin]) -> Calibration:
    items = sum(row.items for row in stated_bins)
    bins = [
        Bin(
            EDGES[row.bin - 1],
            EDGES[row.bin],
            row.items,
            row.stated / row.items,
            row.back / row.items,
        )
        for row in stated_bins
    ]
    return Calibration(
        workload,
        items,
        stated=sum(row.stated for row in stated_bins) / items,
        back=sum(row.back for row in stated_bins) / items,
        brier=sum(row.squares for row in stated_bins) / items,
        bins=bins,
    )
