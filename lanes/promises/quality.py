"""The quality of answers by version and lane: changes in the shares of their classes or of their outcomes.

The first answers of a version on a lane are the reference, and later answers refine it until the shares change. Answers during
an open drift belong to no reference: the drift ends once the earlier shares are proven to be back, or a person accepts the new
ones.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import isfinite, log
from typing import Any

from pydantic import BaseModel, ValidationError

from lanes import json_data
from lanes.ids import ItemId
from lanes.promises.assessment import Assessment
from lanes.promises.incident import Promise
from lanes.statistics.differences import detect, find_merge
from lanes.text import plain
from lanes.units import clock, count, share
from lanes.words import Lane, Outcome, Verdict

LOOK_EVERY, LEAST_ITEMS = timedelta(minutes=1), 20  # of a look at one figure: both must be reached
# looks until a false alarm, over all figures of a workload together
TEN_MONTHS = timedelta(days=300) // LOOK_EVERY
MOST_PORTIONS = 32
# classes that are distinguished; further classes are counted together
MOST_NAMES, LONGEST_CLASS = 11, 60
MOST_FIELDS = 8  # number of fields of the output schema that are watched, the first ones
QUANTILES = 5
BACK = log(1e5)  # evidence from which the earlier shares are taken to be back
EXAMPLES = 5
OF_CLASS = ' of "'  # in the name of a figure, followed by the one class whose answers it counts

Value = str | float


class QualityMeasure(StrEnum):
    """A property of the answers that is watched."""

    FIELD = "field"  # an output field: its classes, the quantiles of its numbers, or its length
    OUTCOME = "outcome"  # how attempts with an answer end: valid, invalid, refused or truncated
    CORRECTION = "correction"  # provisional answers: agreed or corrected
    ACCURACY = "accuracy"  # labeled fields: right or wrong
    PACKED = "packed"  # packed answers that were also requested alone: agreed or differed
    SERVED = "served"  # the model, tier, place or speed that the provider names


# Classes of which only a falling share is a drift; of every other measure each change counts.
GOOD: Mapping[QualityMeasure, str] = {
    QualityMeasure.OUTCOME: Outcome.VALID,
    QualityMeasure.CORRECTION: "agreed",
    QualityMeasure.ACCURACY: "right",
    QualityMeasure.PACKED: "agreed",
}
# Size of the reference for measures that need fewer answers, because their answers are rare or alike.
LEARNED_FROM: Mapping[QualityMeasure, int] = {
    QualityMeasure.CORRECTION: 200,
    QualityMeasure.ACCURACY: 200,
    QualityMeasure.PACKED: 200,
    QualityMeasure.SERVED: 50,
}


class Portion(BaseModel, frozen=True):
    """The answers between two looks, by class."""

    at: datetime
    counts: tuple[int, ...]


class Drift(BaseModel, frozen=True):
    """A share that has changed; `counts` has the answers since `at`, `alarmed` is the share when the drift was detected.

    `usual` is the most frequent class before the drift. `back` is the evidence that the earlier shares are back.
    """

    place: int
    name: str
    usual: str
    at: datetime
    before: tuple[int, int]
    counts: tuple[int, ...]
    alarmed: float
    item_ids: tuple[int, ...] = ()
    back: float = 0
    ended_at: datetime | None = None

    def add(self, seen: Sequence[int], now: datetime) -> "Drift":
        """Return the drift after these answers; it has ended if the earlier share explains them far better."""
        hits, misses = seen[self.place], sum(seen) - seen[self.place]
        usual, moved = (self.before[0] + 0.5) / (self.before[1] + 1), self.alarmed
        back = self.back + hits * log(usual / moved) + misses * log((1 - usual) / (1 - moved))
        counts = tuple(map(sum, zip(self.counts, seen, strict=True)))
        ended_at = now if back >= BACK else None
        changes = {"back": max(0.0, back), "counts": counts, "ended_at": ended_at}
        return self.model_copy(update=changes)


class AnswerWatch(BaseModel, frozen=True):
    """The state of one figure: `values` until the reference is full, then its classes and the counts of each.

    The classes are the `names`, one class for all other names, and the spans between the `cuts` of numbers.
    """

    values: tuple[Value, ...] = ()
    lacking: int = 0  # number of values until the reference is full
    names: tuple[str, ...] = ()
    cuts: tuple[float, ...] = ()
    portions: tuple[Portion, ...] = ()
    pending: Portion | None = None
    looked_at: datetime | None = None
    others: dict[str, int] = {}
    item_ids: dict[int, tuple[int, ...]] = {}
    drift: Drift | None = None

    @classmethod
    def load(cls, watch: Any) -> "AnswerWatch":
        """Return a stored watch, or a new one if this release cannot read the stored format."""
        try:
            loaded = cls.model_validate(watch)
        except ValidationError:
            return cls()
        counted = [each.counts for each in (*loaded.portions, loaded.pending, loaded.drift) if each]
        return loaded if all(len(each) == loaded.classes for each in counted) else cls()

    def add(
        self,
        items_by_value: Mapping[Value, Sequence[ItemId]],
        *,
        learn: int,
        good: str | None,
        tests: int,
        now: datetime,
    ) -> "AnswerWatch":
        """Return the watch after these values and their items, and after a look if one is due.

        `learn` is the number of answers of the reference, `good` names the class of which only a falling share counts, and
        `tests` is the number of figures of the workload that are watched.
        """
        if not self.portions:
            return self._learn(items_by_value, learn, now)
        pending = self.pending or Portion(at=now, counts=(0,) * self.classes)
        counts, others, items = [*pending.counts], Counter(self.others), dict(self.item_ids)
        for value, item_ids in items_by_value.items():
            place = self._place(value)
            counts[place] += len(item_ids)
            newest = dict.fromkeys(reversed([*items.get(place, ()), *item_ids]))
            items[place] = tuple(newest)[:EXAMPLES][::-1]
            if place == len(self.names):
                others[str(value)] += len(item_ids)
        pending = Portion(at=pending.at, counts=tuple(counts))
        others = dict(others.most_common(MOST_NAMES))
        added = self._with(pending=pending, others=others, item_ids=items)
        is_due = self.looked_at is None or now - self.looked_at >= LOOK_EVERY
        return added._look(good, tests, now) if is_due and sum(counts) >= LEAST_ITEMS else added

    @property
    def is_drifting(self) -> bool:
        """Return whether a drift is open."""
        return self.drift is not None and self.drift.ended_at is None

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return len(self.names) + 1 + (len(self.cuts) + 1 if self.cuts else 0)

    def label(self, place: int) -> str:
        """Return a class in words."""
        if place < len(self.names):
            return f'"{self.names[place]}"'
        if place == len(self.names):
            return f'"{max(self.others, key=self.others.__getitem__)}"' if self.others else "others"
        span = place - len(self.names) - 1
        low = [f"above {self.cuts[span - 1]:g}"] if span else []
        return ", ".join([*low, *(f"up to {each:g}" for each in self.cuts[span : span + 1])])

    def shares(self, *, now: bool) -> tuple[float, ...]:
        """Return the share of each class in the reference; with `now`, in the answers since the open drift or the reference."""
        counts = self.portions[0].counts
        if now:
            counts = _add_counts(self.portions[1:] or self.portions)
        if now and self.drift is not None and self.drift.ended_at is None:
            counts = self.drift.counts
        return tuple(each / max(1, sum(counts)) for each in counts)

    def _place(self, value: Value) -> int:
        if isinstance(value, str):
            return self.names.index(value) if value in self.names else len(self.names)
        return len(self.names) + (1 + bisect_left(self.cuts, value) if self.cuts else 0)

    def _learn(
        self, items_by_value: Mapping[Value, Sequence[ItemId]], learn: int, now: datetime
    ) -> "AnswerWatch":
        values = [*self.values, *(each for each, ids in items_by_value.items() for _ in ids)]
        if len(values) < learn:
            return self._with(values=tuple(values), lacking=learn - len(values))
        numbers = sorted(each for each in values if not isinstance(each, str))
        ranks = (each * len(numbers) // QUANTILES for each in range(1, QUANTILES))
        named = Counter(each for each in values if isinstance(each, str)).most_common(MOST_NAMES)
        learned = AnswerWatch(
            names=tuple(name for name, _ in named),
            cuts=tuple(sorted({numbers[each] for each in ranks})) if numbers else (),
        )
        places = Counter(map(learned._place, values))
        counts = tuple(places[each] for each in range(learned.classes))
        return learned._with(portions=(Portion(at=now, counts=counts),))

    def _look(self, good: str | None, tests: int, now: datetime) -> "AnswerWatch":
        assert self.pending is not None
        next_watch = self._with(pending=None, looked_at=now)
        if self.drift is not None and self.drift.ended_at is None:
            return next_watch._with(drift=self.drift.add(self.pending.counts, now))
        portions = [*self.portions, self.pending]
        merged = find_merge([sum(each.counts) for each in portions], most=MOST_PORTIONS)
        if merged is not None:
            both = portions[merged : merged + 2]
            portions[merged : merged + 2] = [Portion(at=both[0].at, counts=_add_counts(both))]
        watched = [each for each in range(self.classes) if good not in self.names[each : each + 1]]
        counts = [each.counts for each in portions]
        evidence, shift = detect(counts, watched, rises=good is not None)
        if shift is None or evidence < log(tests * TEN_MONTHS):
            return next_watch._with(portions=tuple(portions))
        before, since = (
            _add_counts(portions[: shift.portion]),
            _add_counts(portions[shift.portion :]),
        )
        whole = sum(since), sum(before)
        place = max(watched, key=lambda each: since[each] / whole[0] - before[each] / whole[1])
        drift = Drift(
            place=place,
            name=self.label(place),
            usual=self.label(before.index(max(before))),
            at=portions[shift.portion].at,
            before=(before[place], sum(before)),
            counts=since,
            alarmed=(since[place] + 0.5) / (sum(since) + 1),
            item_ids=self.item_ids.get(place, ()),
        )
        reference = Portion(at=self.portions[0].at, counts=before)
        return next_watch._with(portions=(reference,), drift=drift)

    def _with(self, **changes: Any) -> "AnswerWatch":
        return self.model_copy(update=changes)


@dataclass(frozen=True)
class WatchedFigure:
    """A figure of the answers of a version on a lane; `keys` has the keys of the example items of its drift."""

    workload: str
    version: int
    lane: Lane
    measure: QualityMeasure
    field: str
    watch: AnswerWatch
    keys: Sequence[str] = ()

    @property
    def subject(self) -> str:
        """Return the subject of its incidents."""
        return f"{self.description}, {self.lane}, version {self.version}"

    @property
    def examples(self) -> tuple[int, ...]:
        """Return the items of the class that has grown, the newest last."""
        return self.watch.drift.item_ids if self.watch.drift else ()

    @property
    def is_of_class(self) -> bool:
        """Return whether the figure counts only the answers of one class."""
        return OF_CLASS in self.field

    @property
    def description(self) -> str:
        """Return the figure in words."""
        return f"{self.measure} {self.field.lstrip()}" if self.field else str(self.measure)


def iter_values(
    output: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[tuple[str, Value]]:
    """Yield the watched values of an answer, for the first fields of its schema: (field, its class, number or length)."""
    for field, rules in _fields(schema):
        value = output.get(field)
        is_closed = value is None or isinstance(value, bool) or "enum" in rules or "const" in rules
        if is_closed and (value is None or isinstance(value, str | int | float)):
            yield field, _name(value)
        elif isinstance(value, str | list):
            yield field, float(len(value))
        elif isinstance(value, int | float) and abs(value) < 1e300 and isfinite(value):
            yield field, float(value)


def find_class(output: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[str, str]:
    """Return the first field with a closed set of values, and the answer's class; both are empty if there is none."""
    for field, rules in _fields(schema):
        if "enum" in rules or rules.get("type") == "boolean":
            value, classes = output.get(field), rules.get("enum", (False, True))[:MOST_NAMES]
            return field, _name(value) if value in classes else ""
    return "", ""


def list_fields(field: str, name: str) -> list[str]:
    """Return the fields of the figures that count an answer: the whole field, and its class if classes are distinguished."""
    return [field, f'{field}{OF_CLASS}{name}"'] if name else [field]


def has_told(drifting: Collection[str], field: str) -> bool:
    """Return whether `drifting` already reports a drift of `field`: a whole field reports for its classes, and vice versa."""
    wholes = {each.partition(OF_CLASS)[0] for each in drifting}
    return field not in drifting and (field in wholes or field.partition(OF_CLASS)[0] in drifting)


def _fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for field, rules in [*schema.get("properties", {}).items()][:MOST_FIELDS]:
        if len(field) <= json_data.LONGEST_FIELD:
            yield field, rules if isinstance(rules, dict) else {}


def _name(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():  # JSON's 1.0 is 1
        value = int(value)
    return (value if isinstance(value, str) else json_data.dumps(value))[:LONGEST_CLASS]


def quality_drift(figure: WatchedFigure, now: datetime) -> Assessment:
    """Assess a figure with an open or ended drift."""
    drift = figure.watch.drift
    assert drift is not None
    hits, whole = drift.counts[drift.place], sum(drift.counts)
    before, value = share(drift.before[0] / max(1, drift.before[1])), 100 * hits / max(1, whole)
    is_served = figure.measure is QualityMeasure.SERVED
    promise = Promise.MODEL_CHANGED if is_served else Promise.QUALITY_DRIFT
    lane = "real-time" if figure.lane is Lane.REALTIME else "batch"
    name, since = f"{plain(figure.description)}: {plain(drift.name)}", clock(drift.at, beside=now)
    sentence = f"{name} {before} to {share(value / 100)} since {since}, {lane} lane, version {figure.version}"
    sentence += f", by {count(whole)} answers since and {count(drift.before[1])} before"
    sentence += f"; it was {plain(drift.usual)}." if is_served else "."
    if figure.keys:
        sentence += f" Examples: {', '.join(json_data.dumps(plain(each)) for each in figure.keys)}."
    verdict = Verdict.FAILED
    if drift.ended_at is not None:
        verdict, sentence = Verdict.PASSED, f"{name} is back at {before}."
    return Assessment(promise, figure.workload, verdict, value, 0, whole, sentence, figure.subject)


def _add_counts(portions: Sequence[Portion]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*(each.counts for each in portions), strict=True)))
