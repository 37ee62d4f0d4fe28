"""Turns of consumers, and the place where each workload's queue begins.

Turns divide a workload's places while items of several consumers wait for them, by start-time fair queueing: a consumer's
virtual time rises with each item that it was served, by its weight, and the consumer with the least time is next. One that
comes back starts at the least time of those that waited, so that no turns are saved up. A workload is looked at only if its
last claim was filled: if a claim took everything that waits, no turns are needed.

Cursors keep looks from reading past the same taken places again and again. Claimed work, and a routed item, leave their place
in the index for as long as an open snapshot may still see it: of a report that runs for minutes, or a dump. Half a million
such places take a tenth of a second, and every claim and every routed chunk would read past them. So after a slow look from
the head of the queue, looks begin for a second behind the last place taken. Places are ranks of work, the item routed last,
or ids of published events.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from lanes.packing import ClaimedWork
from lanes.workload.version import Spec

MOST_CONSUMERS = 64  # that take turns at once; of more, the next ones do at the next look
SLOW_S = 0.01  # a look from the head that takes longer is not repeated at once
REST_S = 1.0  # until the next look from the head, however long the last one took
P = TypeVar("P")


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
    """Recent service of each waiting consumer of a workload."""

    def __init__(self) -> None:
        self._filled: set[str] = set()  # workloads whose last claim may have left something
        self._after: dict[str, str] = {}  # behind which name the next look goes on
        self._times: dict[str, dict[str, float]] = {}
        self._orders: dict[str, TurnOrder] = {}
        self._weights: dict[str, Spec] = {}

    @property
    def next_looks(self) -> Mapping[str, str]:
        """The workloads whose waiting consumers the next look should list, and behind which name."""
        return {name: self._after.get(name, "") for name in self._filled}

    @property
    def waiting(self) -> Mapping[str, int]:
        """Return how many consumers of a workload take turns."""
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

    def record_claims(
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


@dataclass(frozen=True)
class QueueLook(Generic[P]):
    """The place from which on to look through each workload's queue; workloads that are not named, from the head."""

    since: Mapping[str, P]
    whole: bool


class QueueCursor(Generic[P]):
    """The place up to which each workload's queue was taken. Moments are seconds of any one clock.

    Something may appear before it: due sooner, amended, given back, or committed late. The next look from the head finds it.
    Urgent work is looked for every time.
    """

    def __init__(self, *, slow_s: float = SLOW_S, rest_s: float = REST_S) -> None:
        self._slow_s, self._rest_s = slow_s, rest_s
        self._taken: dict[str, P] = {}
        self._whole_again_at = float("-inf")

    def look(self, at: float) -> QueueLook[P]:
        """Return where to look now."""
        whole = at >= self._whole_again_at
        return QueueLook({} if whole else dict(self._taken), whole)

    def record_look(
        self, look: QueueLook[P], taken: Mapping[str, P], *, took_s: float, at: float
    ) -> None:
        """Note that a look ended `at` this moment, how long it took, and the last place taken of each workload."""
        self.take(taken)
        if look.whole and took_s > self._slow_s:
            self._whole_again_at = at + self._rest_s

    def take(self, taken: Mapping[str, P]) -> None:
        """Move to the last place taken of each workload."""
        self._taken |= taken

    @property
    def positions(self) -> Mapping[str, P]:
        """The place up to which each workload's queue was taken."""
        return self._taken

    def rest_s(self, at: float) -> float:
        """Return the seconds until a look begins at the head again; 0 if the next one does."""
        return max(0.0, self._whole_again_at - at)
