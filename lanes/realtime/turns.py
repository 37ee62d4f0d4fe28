"""Turns of consumers, and the cursors of the queues.

Turns divide a workload's places while items of several consumers wait, by start-time fair queueing: a consumer's virtual time
rises with each served item, by its weight, and the consumer with the least time is next. A consumer that returns starts at
the least time of the waiting ones, so that it cannot save up turns. The consumers of a workload are read only if its last claim
was filled: if a claim took all waiting work, no turns are needed.

Cursors prevent reads from passing the same dead index entries again and again. The index entry of claimed work or of a routed
item stays as long as an open snapshot may still see it, such as that of a long report or a dump. Reading past half a million
dead entries takes a tenth of a second or more, for every claim and every routed chunk. So after a slow read from the head of a
queue, reads start behind the last position taken, for one to five seconds: slow reads take about 2 % of the time. Positions are
ranks of work, the item routed last, or ids of published events. A list of consumers can only be read from the head, so it is
reused for that time.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from lanes.packing import ClaimedWork
from lanes.workload.version import Spec

MOST_CONSUMERS = 64  # consumers that take turns at once; the next read lists the next ones
SLOW_S = 0.01  # a read from the head that takes longer is not repeated at once
REST_S = 1.0  # the shortest time from a slow read from the head until the next one
RESTS = 50  # that time over the duration of the slow read
LONGEST_REST_S = 5.0  # a read of a locked table must not hide work for longer
P = TypeVar("P")


def rest_after(took_s: float) -> float:
    """Return the seconds from a slow read from the head until the next one."""
    return min(max(REST_S, RESTS * took_s), LONGEST_REST_S)


@dataclass(frozen=True)
class WaitingConsumer:
    """A consumer with waiting work ("" for items without a consumer), and the rank of its most urgent work."""

    consumer: str
    rank_at: datetime


@dataclass(frozen=True)
class TurnOrder:
    """The consumers of a workload, one for each of the next places, in order.

    Urgent and due work with a rank before `pressing_before` goes first, by its rank. `pressing_before` is the latest of the
    consumers' first ranks.
    """

    consumers: Sequence[str]
    pressing_before: datetime

    def places(self, number: int) -> Mapping[str, int]:
        """Return the number of places of each consumer among the next `number`."""
        return Counter(self.consumers[:number])


class ConsumerLists:
    """The newest lists of the waiting consumers, by workload. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._lists: dict[str, tuple[Sequence[WaitingConsumer], float]] = {}  # each with its time
        self._again_at = float("-inf")

    def select_due(self, wanted: Mapping[str, str], at: float) -> Mapping[str, str]:
        """Return the entries of `wanted` that must be read now; after a slow read, only those without a recent list."""
        if at >= self._again_at:
            return wanted
        oldest = at - LONGEST_REST_S
        recent = {name for name, (_, read_at) in self._lists.items() if read_at > oldest}
        return {name: after for name, after in wanted.items() if name not in recent}

    def record(
        self,
        names: Iterable[str],
        found: Mapping[str, Sequence[WaitingConsumer]],
        *,
        took_s: float,
        at: float,
    ) -> None:
        """Record the lists of these workloads, which were read in `took_s` seconds."""
        self._lists |= {name: (found.get(name, ()), at) for name in names}
        if took_s > SLOW_S:
            self._again_at = at + rest_after(took_s)

    def read(self, name: str, at: float) -> list[WaitingConsumer]:
        """Return the list of a workload, empty if it was never read. The ranks advance by the age of the list."""
        consumers, read_at = self._lists.get(name, ((), at))
        age = timedelta(seconds=max(0.0, at - read_at))
        return [WaitingConsumer(each.consumer, each.rank_at + age) for each in consumers]


class ConsumerTurns:
    """The recent service of the waiting consumers, by workload."""

    def __init__(self) -> None:
        self._filled: set[str] = set()  # workloads whose last claim may have left work
        self._after: dict[str, str] = {}  # the name after which the next list starts
        self._times: dict[str, dict[str, float]] = {}
        self._orders: dict[str, TurnOrder] = {}
        self._weights: dict[str, Spec] = {}
        # The positions by workload and consumer, as in `QueueCursor`.
        self._taken: dict[str, dict[str, datetime]] = {}

    @property
    def next_looks(self) -> Mapping[str, str]:
        """The workloads whose waiting consumers the next read must list, with the name after which each list starts."""
        return {name: self._after.get(name, "") for name in self._filled}

    @property
    def waiting(self) -> Mapping[str, int]:
        """The number of consumers that take turns, by workload; only workloads with more than one."""
        return {name: len(times) for name, times in self._times.items() if len(times) > 1}

    def order(
        self, workload: str, spec: Spec, waiting: Sequence[WaitingConsumer], places: int
    ) -> TurnOrder | None:
        """Return the order in which consumers get the next places; None if fewer than two wait."""
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

    def start_ranks(self, look: "QueueLook[datetime]") -> Mapping[str, Mapping[str, datetime]]:
        """Return the rank at which the claim of each consumer's turns starts, by workload; empty for a read from the head."""
        if look.whole:
            self._taken.clear()
        return {name: dict(self._taken.get(name, {})) for name in self._orders}

    def take(self, work: Iterable[ClaimedWork]) -> Mapping[str, datetime]:
        """Move each consumer's position to its claimed `work`; return the position of each workload that has one.

        Urgent and due work moves no position, because it is claimed before work of earlier ranks.
        """
        for each in work:
            if each.workload in self._orders and not (each.urgent or each.due_at):
                taken, consumer = self._taken.setdefault(each.workload, {}), each.consumer or ""
                taken[consumer] = max(each.rank_at, taken.get(consumer, each.rank_at))
        return {
            name: min(taken[consumer] for consumer in order.consumers)
            for name, order in self._orders.items()
            if (taken := self._taken.get(name, {})).keys() >= set(order.consumers)
        }

    def record_claims(
        self, work: Iterable[ClaimedWork], asked: Mapping[str, int], seen: Set[str]
    ) -> None:
        """Count the claimed `work` as service of its consumers; unused turns count for no consumer.

        `asked` is the requested number of items by workload; `seen` are the workloads with waiting work.
        """
        counts = Counter((each.workload, each.consumer or "") for each in work if not each.measures)
        by_workload = Counter[str]()
        for (workload, _), number in counts.items():
            by_workload[workload] += number
        filled = {name for name, most in asked.items() if by_workload[name] >= most}
        self._filled = filled | (self._filled & (seen - asked.keys()))
        for workload, order in self._orders.items():
            times, spec = self._times[workload], self._weights[workload]
            for consumer, turns in order.places(len(order.consumers)).items():
                times[consumer] += min(turns, counts[workload, consumer]) / spec.weight_of(consumer)
        self._orders.clear()
        for name in self._times.keys() - self._filled:
            del self._times[name]


@dataclass(frozen=True)
class QueueLook(Generic[P]):
    """The position at which the read of each workload's queue starts; for workloads without one, the head."""

    since: Mapping[str, P]
    whole: bool


class QueueCursor(Generic[P]):
    """The position up to which each workload's queue has been taken. Times are seconds of any one clock.

    Work may appear before the position: work that is due sooner, amended, released, or committed late. The next read from the
    head finds it. Every read includes urgent work.
    """

    def __init__(self, *, slow_s: float = SLOW_S, rest_s: float | None = None) -> None:
        self._slow_s, self._rest_s = slow_s, rest_s
        self._taken: dict[str, P] = {}
        self._whole_again_at = float("-inf")

    def look(self, at: float) -> QueueLook[P]:
        """Return the positions at which the next read starts: the head, or the last positions taken after a slow read."""
        whole = at >= self._whole_again_at
        return QueueLook({} if whole else dict(self._taken), whole)

    def record_look(
        self, look: QueueLook[P], taken: Mapping[str, P], *, took_s: float, at: float
    ) -> None:
        """Record the end of a read `at` this time, its duration, and the last position taken of each workload."""
        self.take(taken)
        if look.whole and took_s > self._slow_s:
            self._whole_again_at = at + (self._rest_s or rest_after(took_s))

    def take(self, taken: Mapping[str, P]) -> None:
        """Move the cursor to the last position taken of each workload."""
        self._taken |= taken

    @property
    def positions(self) -> Mapping[str, P]:
        """The position up to which each workload's queue has been taken."""
        return self._taken

    def rest_s(self, at: float) -> float:
        """Return the seconds until reads start at the head again; 0 if the next read does."""
        return max(0.0, self._whole_again_at - at)
