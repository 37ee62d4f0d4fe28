"""What the real-time lane has before it: what waits, by rank, what the provider's limits leave, how long calls take, and whom
it does not serve at all.

One snapshot for whoever looks again. It knows of no shares: what ranks before an item is served before it, whoever's it is.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from lanes.routing.capacity import Limit, Need, Waiting, drain_time_s
from lanes.routing.route import EXPECTED_CALL
from lanes.units import clock

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


@dataclass(frozen=True)
class Load:
    """The real-time lane at `at`.

    `per_s` is how many items a second the places for calls allow, whatever their model, above 0. `calls` is how long nearly
    every call of a model takes, `call` where nothing is known of it. `limits` are those that each model's answers told of late,
    none where nothing is known; `needs` is what an item of each workload takes of them, on average. `rests` are the models that
    answer nobody, by name; `refused` whose hard budgets are used up: a workload and its consumer, None for all.
    """

    at: datetime
    per_s: float
    call: timedelta = EXPECTED_CALL
    calls: Mapping[str, timedelta] = field(default_factory=dict[str, timedelta])
    queues: Sequence[Queue] = ()
    limits: Mapping[str, Sequence[Limit]] = field(default_factory=dict[str, Sequence[Limit]])
    needs: Mapping[str, Need] = field(default_factory=dict[str, Need])
    rests: Mapping[str, Rest] = field(default_factory=dict[str, Rest])
    refused: Set[tuple[str, str | None]] = frozenset[tuple[str, str | None]]()
    _ahead: dict[tuple[str | None, int], tuple[int, Waiting]] = field(
        default_factory=dict[tuple[str | None, int], tuple[int, Waiting]], init=False, repr=False, compare=False
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

    def waiting(self, model: str | None = None, *, until: datetime | None = None) -> int:
        """How many items wait; of that model, and that rank before a moment, where these are given."""
        there = self.queues if until is None else (each for each in self.queues if each.ranks_from < until)
        return sum(each.items for each in there if model in (None, each.model))

    def drain_s(self, model: str, *, until: datetime | None = None, more: int = 0, taking: Need = NOTHING) -> float:
        """Seconds until what ranks before `until` (None: whatever waits) and so many more items of a model are answered.

        `taking` is what the others take of the model's limits, all of them together. Places are shared by all models, limits
        are a model's own: whichever takes longer.
        """
        return max(self.by_places_s(until=until, more=more), self.by_limits_s(model, until=until, more=more, taking=taking))

    def by_places_s(self, *, until: datetime | None = None, more: int = 0) -> float:
        """The same by the places alone: `more` of any model."""
        everybody, _ = self._before(None, until)
        return (everybody + more) / self.per_s

    def by_limits_s(self, model: str, *, until: datetime | None = None, more: int = 0, taking: Need = NOTHING) -> float:
        """The same by the model's own limits alone: `more` of that model; 0 where none are known."""
        limits = self.limits.get(model, ())
        if not limits:
            return 0.0
        _, ours = self._before(model, until)
        waiting = [each for each in (ours, Waiting(more, taking.times(1 / max(1, more)))) if each.items]
        return drain_time_s(waiting, limits, per_s=None, now=self.at) or 0.0

    @cached_property
    def _ranks(self) -> list[datetime]:
        return sorted({each.ranks_from for each in self.queues})

    def _before(self, model: str | None, until: datetime | None) -> tuple[int, Waiting]:
        """How many items of all models rank before then, and those of this one: asked for once of each rank."""
        place = len(self._ranks) if until is None else bisect_left(self._ranks, until)
        found = self._ahead.get((model, place))
        if found is None:
            before = [each for each in self.queues if bisect_left(self._ranks, each.ranks_from) < place]
            ours, taking = 0, NOTHING
            for each in before:
                if each.model == model:
                    ours += each.items
                    taking = taking.plus(self.need_of(each.workload).times(each.items))
            everybody = sum(each.items for each in before)
            found = self._ahead[model, place] = everybody, Waiting(ours, taking.times(1 / max(1, ours)))
        return found
