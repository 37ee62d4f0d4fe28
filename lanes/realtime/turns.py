"""Turns of consumers: how a drain divides a workload's places while items of several consumers wait for them.

Start-time fair queueing: a consumer's virtual time rises with each item that it was served, by its weight, and the consumer
whose time is least is next. One that comes back starts at the least time of those that waited, so that no turns are saved up.
Only a workload whose last claim was filled is looked at: where everything that waits is claimed, no turns are needed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from lanes.packing import ClaimedWork
from lanes.workload.version import Spec

MOST_CONSUMERS = 64  # that take turns at once; of more, the next ones do at the next look


@dataclass(frozen=True)
class WaitingConsumer:
    """A consumer whose work waits, "" for items without one, and the rank of its most urgent work."""

    consumer: str
    rank_at: datetime


@dataclass(frozen=True)
class TurnOrder:
    """The consumers of a workload in the order in which the next places are theirs.

    Urgent and due work that ranks before `pressing_before` goes first, by its rank: the latest of the consumers' first ranks.
    """

    consumers: Sequence[str]
    pressing_before: datetime

    def places(self, number: int) -> Mapping[str, int]:
        """Return how many of the next `number` places each consumer gets."""
        return Counter(self.consumers[:number])


class ConsumerTurns:
    """How much each waiting consumer of a workload was served lately."""

    def __init__(self) -> None:
        self._filled: set[str] = set()  # workloads whose last claim may have left something
        self._after: dict[str, str] = {}  # behind which name the next look goes on
        self._times: dict[str, dict[str, float]] = {}
        self._orders: dict[str, TurnOrder] = {}
        self._weights: dict[str, Spec] = {}

    @property
    def looks_at(self) -> Mapping[str, str]:
        """The workloads whose waiting consumers the next look should list, and behind which name."""
        return {name: self._after.get(name, "") for name in self._filled}

    @property
    def waiting(self) -> Mapping[str, int]:
        """How many consumers of a workload take turns."""
        return {name: len(times) for name, times in self._times.items() if len(times) > 1}

    def order(
        self, workload: str, spec: Spec, waiting: Sequence[WaitingConsumer], places: int
    ) -> TurnOrder | None:
        """Return the order in which consumers get the next places; None where fewer than two wait."""
        self._orders.pop(workload, None)
        full = len(waiting) == MOST_CONSUMERS
        self._after[workload] = waiting[-1].consumer if full else ""
        if len(waiting) < 2:
            self._times.pop(workload, None)
            return None
        before = self._times.get(workload, {})
        names = [each.consumer for each in waiting]
        least = min((before[name] for name in names if name in before), default=0.0)
        times = {name: before.get(name, least) - least for name in names}
        self._times[workload], self._weights[workload] = dict(times), spec
        turns: list[str] = []
        for _ in range(places):
            following = min(times, key=lambda name: (times[name], -spec.weight_of(name), name))
            times[following] += 1 / spec.weight_of(following)
            turns.append(following)
        made = TurnOrder(turns, max(each.rank_at for each in waiting))
        self._orders[workload] = made
        return made

    def claimed(
        self, work: Iterable[ClaimedWork], asked: Mapping[str, int], seen: Set[str]
    ) -> None:
        """Count what was claimed of what was `asked` for; turns that a consumer did not use count for no consumer.

        `seen` are the workloads in which something waited.
        """
        taken = Counter((each.workload, each.consumer or "") for each in work if not each.measures)
        by_workload = Counter[str]()
        for (workload, _), number in taken.items():
            by_workload[workload] += number
        filled = {name for name, most in asked.items() if by_workload[name] >= most}
        self._filled = filled | (self._filled & (seen - asked.keys()))
        for workload, order in self._orders.items():
            times, spec = self._times[workload], self._weights[workload]
            for consumer, turns in order.places(len(order.consumers)).items():
                times[consumer] += min(turns, taken[workload, consumer]) / spec.weight_of(consumer)
        self._orders.clear()
        for name in self._times.keys() - self._filled:
            del self._times[name]
