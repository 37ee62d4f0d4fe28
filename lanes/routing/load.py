"""What the real-time lane has before it: what waits, by rank, what the provider's limits leave, how long calls take, and whom
it does not serve at all.

One snapshot for whoever looks again. Within a workload what ranks before is served before. Beside it others are served,
whatever their ranks: as many items of each as its share has places for while this one's are answered, and no more than wait.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from lanes.routing.capacity import Limit, Need, Waiting, drain_time_s
from lanes.routing.route import EXPECTED_CALL
from lanes.units import clock
from lanes.workload.entitlement import UNBOUNDED, Entitlement, held

NOTHING = Need(0, 0, 0)
A_CALL = Need(0, 0)  # what is assumed of an item of a workload that nothing is known of


@dataclass(frozen=True, slots=True)
class Queue:
    """Items of one workload that wait and rank alike: none before `ranks_from`."""

    workload: str
    model: str
    ranks_from: datetime
    items: int


@dataclass(frozen=True, slots=True)
class Added:
    """Items of a workload beside those that wait, which model they ask, and what they take of its limits together."""

    model: str
    items: int
    taking: Need

    def plus(self, other: "Added | None") -> "Added":
        """Both of them, of one workload."""
        return self if other is None else Added(self.model, self.items + other.items, self.taking.plus(other.taking))


NONE: Mapping[str, Added] = {}


@dataclass(frozen=True, slots=True)
class Rest:
    """A model that answers nobody, since when, and what the last call met."""

    model: str
    since: datetime
    why: str

    def said(self, now: datetime) -> str:
        """As a sentence."""
        return f"{self.model} answers nobody since {clock(self.since, beside=now)}: {self.why}"


@dataclass(frozen=True, slots=True)
class Held:
    """Why the lane answers nothing of an item now, in words; `outage`: the provider's trouble explains it."""

    said: str
    outage: bool


@dataclass(frozen=True, slots=True)
class _Line:
    """A workload's own items, how many of each other are served meanwhile, and for how many there were places that its largest
    share, or the others', left empty."""

    own: int
    beside: Mapping[str, float] = field(default_factory=dict[str, float])
    empty: float = 0.0


@dataclass(frozen=True)
class Load:
    """The real-time lane at `at`.

    `per_s` is how many items a second the places for calls allow, whatever their model, above 0. `calls` is how long nearly
    every call of a model takes, `call` where nothing is known of it. `limits` are those that each model's answers told of late,
    none where nothing is known; `needs` is what an item of each workload takes of them, on average; `entitled` its share of the
    places. `rests` are the models that answer nobody, by name; `refused` whose hard budgets have refused what was asked: a
    workload and its consumer, None for all.
    """

    at: datetime
    per_s: float
    call: timedelta = EXPECTED_CALL
    calls: Mapping[str, timedelta] = field(default_factory=dict[str, timedelta])
    queues: Sequence[Queue] = ()
    limits: Mapping[str, Sequence[Limit]] = field(default_factory=dict[str, Sequence[Limit]])
    needs: Mapping[str, Need] = field(default_factory=dict[str, Need])
    entitled: Mapping[str, Entitlement] = field(default_factory=dict[str, Entitlement])
    rests: Mapping[str, Rest] = field(default_factory=dict[str, Rest])
    refused: Set[tuple[str, str | None]] = frozenset[tuple[str, str | None]]()
    _own: dict[tuple[str, int], Counter[str]] = field(
        default_factory=dict[tuple[str, int], Counter[str]], init=False, repr=False, compare=False
    )
    _parts: dict[Set[str], Mapping[str, float]] = field(
        default_factory=dict[Set[str], Mapping[str, float]], init=False, repr=False, compare=False
    )

    def need_of(self, workload: str) -> Need:
        """What one item of the workload takes of its model's limits."""
        return self.needs.get(workload, A_CALL)

    def call_of(self, model: str) -> timedelta:
        """How long nearly every call of a model takes."""
        return self.calls.get(model, self.call)

    def held(self, workload: str, consumer: str | None, model: str) -> Held | None:
        """Why nothing of them is answered now, however short the queue is; None: it is."""
        if (workload, None) in self.refused:
            return Held(f'the budget of "{workload}" is used up', outage=False)
        if consumer is not None and (workload, consumer) in self.refused:
            return Held(f'the budget of "{workload}" for consumer "{consumer}" is used up', outage=False)
        rest = self.rests.get(model)
        return None if rest is None else Held(rest.said(self.at), outage=True)

    def waiting(self, model: str | None = None) -> int:
        """How many items wait; of that model, where it is given."""
        return sum(each.items for each in self.queues if model in (None, each.model))

    def served(self, workload: str, *, until: datetime | None = None, added: Mapping[str, Added] = NONE) -> float:
        """How many items are answered until all of a workload are that rank before `until` (None: whatever waits of it), with
        those that are `added`, by workload: its own, and what others are served meanwhile."""
        line = self._line(workload, until, added)
        return line.own + sum(line.beside.values())

    def places_s(self, workload: str, *, until: datetime | None = None, added: Mapping[str, Added] = NONE) -> float:
        """Seconds until these are answered by the places for calls, which all models share."""
        line = self._line(workload, until, added)
        return (line.own + sum(line.beside.values()) + line.empty) / self.per_s

    def drain_s(
        self, workload: str, model: str, *, until: datetime | None = None, added: Mapping[str, Added] = NONE
    ) -> float:  # fmt: skip
        """Seconds until these are answered, by the places or by the limits of their model: whichever takes longer."""
        line = self._line(workload, until, added)
        places_s = (line.own + sum(line.beside.values()) + line.empty) / self.per_s
        limits, asked, more = self.limits.get(model, ()), self._before(workload, until)[model], added.get(workload)
        if not limits or not (asked or more):
            return places_s
        taking = self.need_of(workload).times(asked).plus(NOTHING if more is None else more.taking)
        for other, items in line.beside.items():
            taking = taking.plus(self._taking(other, items, model, added.get(other)))
        return max(places_s, drain_time_s([Waiting(1, taking)], limits, per_s=None, now=self.at) or 0.0)

    def _line(self, workload: str, until: datetime | None, added: Mapping[str, Added]) -> "_Line":
        more = added.get(workload)
        own = self._before(workload, until).total() + (0 if more is None else more.items)
        names = self._backlog.keys() | added.keys() if added else self._backlog.keys()
        if not own or names <= {workload}:
            return _Line(own)
        parts = self._parts_of(frozenset({workload, *names}))
        mine, waits, beside = parts[workload], 0, dict[str, float]()
        longest = 0.0  # how many of its own are answered while another waits
        for other, part in parts.items():
            if other != workload and (items := self._items(other, added)):
                waits += items
                beside[other] = min(items, own * part / mine)
                longest = max(longest, items * mine / part)
        served = own + sum(beside.values())
        empty = (1 - sum(parts.values())) / mine * min(own, longest)
        bound = 100 / self.entitled.get(workload, UNBOUNDED).max_share_percent
        return _Line(own, beside, max(empty, min(own * bound, own + waits) - served))

    def _items(self, workload: str, added: Mapping[str, Added]) -> int:
        """How many of it wait, with what was added."""
        waits, joins = self._backlog.get(workload), added.get(workload)
        return (0 if waits is None else waits.total()) + (0 if joins is None else joins.items)

    def _taking(self, workload: str, items: float, model: str, added: Added | None) -> Need:
        """What so many items of another workload take of the model's limits."""
        waits = self._backlog.get(workload)
        if waits is not None and (all_of_it := waits.total()):
            return self.need_of(workload).times(items * waits[model] / all_of_it)
        if added is None or added.model != model:
            return NOTHING
        return added.taking.times(items / max(1, added.items))

    def _parts_of(self, names: Set[str]) -> Mapping[str, float]:
        """Which part of the places each of these holds while all of them wait."""
        parts = self._parts.get(names)
        if parts is None:
            parts = self._parts[names] = held({name: self.entitled.get(name, UNBOUNDED) for name in names})
        return parts

    @cached_property
    def _backlog(self) -> Mapping[str, Counter[str]]:
        """How many items wait of each workload, by the model that they ask."""
        found: dict[str, Counter[str]] = {}
        for each in self.queues:
            found.setdefault(each.workload, Counter())[each.model] += each.items
        return found

    @cached_property
    def _ranks(self) -> Sequence[datetime]:
        return sorted({each.ranks_from for each in self.queues})

    def _before(self, workload: str, until: datetime | None) -> Counter[str]:
        """How many items of the workload rank before then, by the model that they ask: asked for once of each rank."""
        place = len(self._ranks) if until is None else bisect_left(self._ranks, until)
        found = self._own.get((workload, place))
        if found is None:
            found = self._own[workload, place] = Counter[str]()
            for each in self.queues:
                if each.workload == workload and bisect_left(self._ranks, each.ranks_from) < place:
                    found[each.model] += each.items
        return found
