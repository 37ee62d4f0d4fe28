"""A snapshot of the real-time lane: waiting items by rank, remaining limits, call durations, and work that it does not serve.

Within a workload, lower ranks are served first. Other workloads are served at the same time whatever their ranks: each gets as
many items as its share of the places allows in that time, and at most its waiting items.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from lanes.routing.capacity import Limit, Need, WaitingItems, drain_time_s
from lanes.routing.lane_rules import EXPECTED_CALL
from lanes.units import clock
from lanes.workload.version import UNBOUNDED, Entitlement, fair_shares

NOTHING = Need(0, 0, 0)
A_CALL = Need(0, 0)  # assumed for items of an unknown workload


@dataclass(frozen=True, slots=True)
class RankedQueue:
    """Waiting items of one workload that rank alike, none before `ranks_from`."""

    workload: str
    model: str
    ranks_from: datetime
    items: int


class AddedItems(NamedTuple):
    """Items of a workload in addition to the waiting ones, with the model that they call and their total use of its limits."""

    model: str
    items: int
    taking: Need

    def plus(self, other: "AddedItems | None") -> "AddedItems":
        """Return the sum with other added items of the same workload."""
        if other is None:
            return self
        return AddedItems(self.model, self.items + other.items, self.taking.plus(other.taking))


NONE: Mapping[str, AddedItems] = {}
NO_OTHERS: Set[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ModelRest:
    """A model that has not answered since `since`, with the error of its last call."""

    model: str
    since: datetime
    why: str

    def describe(self, now: datetime) -> str:
        """Return the outage as a sentence."""
        return f"{self.model} has not answered since {clock(self.since, beside=now)}: {self.why}"


@dataclass(frozen=True, slots=True)
class UnservedReason:
    """The reason why the lane does not answer an item now; `outage` is true if trouble at the provider is the cause."""

    sentence: str
    outage: bool


class _Other(NamedTuple):
    """Another workload that is served at the same time: `served` of its `items` waiting items for each own item.

    `most` is the largest share of the places that it may take, 0 to 1.
    """

    name: str
    served: float
    items: int
    most: float


class ServedLine(NamedTuple):
    """A workload's own items, the items of others served in the same time, and the call places that all of them use."""

    own: int
    others: Sequence[tuple[_Other, float]]
    places: float

    @property
    def items(self) -> float:
        """Return the number of items in the line."""
        return self.own + sum(items for _, items in self.others)


Own = tuple[int, Counter[str]]  # item count in total, and by model


@dataclass(frozen=True)
class Load:
    """The state of the real-time lane at `at`.

    The call places allow `per_s` items a second, above 0, whatever their model; `timed` is true if this rate was measured.
    `calls` has the duration that nearly every call of a model stays within, `call` the default. `limits` has each model's
    recent limits; `needs` has an item's average use of them by workload, and `entitled` the workload's share of the places.
    `rests` has the models that do not answer, by name; `refused` has the workloads and consumers (None: all) whose hard budgets
    are used up.
    """

    at: datetime
    per_s: float
    call: timedelta = EXPECTED_CALL
    calls: Mapping[str, timedelta] = field(default_factory=dict[str, timedelta])
    queues: Sequence[RankedQueue] = ()
    limits: Mapping[str, Sequence[Limit]] = field(default_factory=dict[str, Sequence[Limit]])
    needs: Mapping[str, Need] = field(default_factory=dict[str, Need])
    entitled: Mapping[str, Entitlement] = field(default_factory=dict[str, Entitlement])
    rests: Mapping[str, ModelRest] = field(default_factory=dict[str, ModelRest])
    refused: Set[tuple[str, str | None]] = frozenset[tuple[str, str | None]]()
    timed: bool = True
    workloads: Collection[str] | None = None  # workloads that the lane's account answers; None: all
    _own: dict[tuple[str, int], Own] = field(
        default_factory=dict[tuple[str, int], Own], init=False, repr=False, compare=False
    )
    _others: dict[tuple[str, Set[str]], Sequence[_Other]] = field(
        default_factory=dict[tuple[str, Set[str]], "Sequence[_Other]"],
        init=False,
        repr=False,
        compare=False,
    )

    def answers(self, workload: str) -> bool:
        """Return whether the lane's account answers the workload."""
        return self.workloads is None or workload in self.workloads

    def as_known(self) -> "Load":
        """Return the load with only measured places as a bound, for callers that send work to batches."""
        return self if self.timed else replace(self, per_s=math.inf)

    def need_of(self, workload: str) -> Need:
        """Return the use of its model's limits by one item of the workload."""
        return self.needs.get(workload, A_CALL)

    def call_of(self, model: str) -> timedelta:
        """Return the duration that nearly every call of a model stays within."""
        return self.calls.get(model, self.call)

    def find_unserved_reason(
        self, workload: str, consumer: str | None, model: str
    ) -> UnservedReason | None:
        """Return why these items are not answered now, however short the queue is; None if they are answered."""
        if (workload, None) in self.refused:
            return UnservedReason(f'the budget of "{workload}" is used up', outage=False)
        if consumer is not None and (workload, consumer) in self.refused:
            return UnservedReason(
                f'the budget of "{workload}" for consumer "{consumer}" is used up', outage=False
            )
        rest = self.rests.get(model)
        return None if rest is None else UnservedReason(rest.describe(self.at), outage=True)

    def waiting(self, model: str | None = None) -> int:
        """Return the number of waiting items, of one model if `model` is given."""
        return sum(each.items for each in self.queues if model in (None, each.model))

    def drain_s(
        self,
        workload: str,
        model: str,
        *,
        until: datetime | None = None,
        more: AddedItems | None = None,
        beside: Mapping[str, AddedItems] = NONE,
    ) -> float:
        """Return the seconds until the line is answered, by the places or the model's limits, whichever takes longer."""
        line = self.line(workload, until=until, more=more, beside=beside)
        places_s, limits = line.places / self.per_s, self.limits.get(model, ())
        if not limits:
            return places_s
        asked = self._count_before(workload, until)[1][model]
        if not (asked or more):
            return places_s
        taking = self.need_of(workload).times(asked).plus(NOTHING if more is None else more.taking)
        for other, items in line.others:
            taking = taking.plus(self._scale_need(other, items, model, beside.get(other.name)))
        return max(
            places_s,
            drain_time_s([WaitingItems(1, taking)], limits, per_s=None, now=self.at) or 0.0,
        )

    def line(
        self,
        workload: str,
        *,
        until: datetime | None = None,
        more: AddedItems | None = None,
        beside: Mapping[str, AddedItems] = NONE,
    ) -> ServedLine:
        """Return the items answered until a workload's items that rank before `until`, and its own `more`, are all answered.

        Other workloads are served in the same time: their waiting items and the items in `beside`.
        """
        own = self._count_before(workload, until)[0] + (0 if more is None else more.items)
        others = self._list_others(workload, beside)
        if not own or not others:
            return ServedLine(own, (), own)
        waits, wait, served = 0, 0.0, list[tuple[_Other, float]]()
        for other in others:
            joins = beside.get(other.name)
            if items := other.items + (0 if joins is None else joins.items):
                waits += items
                wait = max(wait, items / other.most)
                served.append((other, min(items, own * other.served)))
        places = own + sum(items for _, items in served)
        return ServedLine(own, served, max(places, self._bound_places(workload, own, waits, wait)))

    def _bound_places(self, workload: str, own: int, waits: int, wait: float) -> float:
        """Return the places used until the workload's own items are answered, if its largest share bounds it while others wait.

        `waits` items of other workloads wait, for at least `wait` places.
        """
        most = self.entitled.get(workload, UNBOUNDED).max_share_percent / 100
        if most == 1:
            return own
        wait = max(wait, waits / (1 - most))
        return own / most if own <= wait * most else wait + own - wait * most

    def _list_others(self, workload: str, beside: Mapping[str, AddedItems]) -> Sequence[_Other]:
        """Return the other workloads that wait; their shares are computed once per set of names."""
        names = frozenset(beside.keys() - self._names) if beside else NO_OTHERS
        found = self._others.get((workload, names))
        if found is None:
            found = self._others[workload, names] = self._compute_shares(
                {workload, *self._names, *names}, workload
            )
        return found

    def _compute_shares(self, names: Set[str], workload: str) -> Sequence[_Other]:
        entitled = {name: self.entitled.get(name, UNBOUNDED) for name in names}
        parts = fair_shares(entitled)
        mine = parts.pop(workload)
        waits = {name: models.total() for name, models in self._backlog.items()}
        most = {name: each.max_share_percent / 100 for name, each in entitled.items()}
        return [
            _Other(name, part / mine, waits.get(name, 0), most[name])
            for name, part in parts.items()
        ]

    def _scale_need(
        self, other: _Other, items: float, model: str, added: AddedItems | None
    ) -> Need:
        """Return the use of the model's limits by these items of another workload."""
        if other.items:
            return self.need_of(other.name).times(
                items * self._backlog[other.name][model] / other.items
            )
        if added is None or added.model != model:
            return NOTHING
        return added.taking.times(items / max(1, added.items))

    @cached_property
    def _backlog(self) -> Mapping[str, Counter[str]]:
        """Count the waiting items of each workload by model."""
        found: dict[str, Counter[str]] = {}
        for each in self.queues:
            found.setdefault(each.workload, Counter())[each.model] += each.items
        return found

    @cached_property
    def _names(self) -> Set[str]:
        return frozenset(self._backlog)

    @cached_property
    def _ranks(self) -> Sequence[datetime]:
        return sorted({each.ranks_from for each in self.queues})

    def _count_before(self, workload: str, until: datetime | None) -> Own:
        """Count the workload's items that rank before `until`, in total and by model; computed once for each rank."""
        place = len(self._ranks) if until is None else bisect_left(self._ranks, until)
        found = self._own.get((workload, place))
        if found is None:
            models = Counter[str]()
            for each in self.queues:
                if each.workload == workload and bisect_left(self._ranks, each.ranks_from) < place:
                    models[each.model] += each.items
            found = self._own[workload, place] = models.total(), models
        return found
