"""Shedding: free work leaves the real-time lane if the lane cannot serve it now and a batch is soon enough.

Work leaves while its model does not answer, while its budget is beyond its soft limit, or if it would be served later than its
rank allows. The latest rank leaves first. The route of shed work records the move, so no work is shed twice or moves back and
forth.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lanes.ids import VersionId, WorkId
from lanes.money.budget import BudgetStatus, find_over_soft
from lanes.money.estimates import Estimate
from lanes.routing.lane_rules import may_wait
from lanes.routing.load import AddedItems, Load, ModelRest
from lanes.routing.prospect import Chance, Prospects
from lanes.routing.route import Route, leave
from lanes.units import seconds
from lanes.words import Lane, Reason
from lanes.workload.version import Version

# no work is shed for a model that has not answered for less than this
SETTLED = timedelta(seconds=5)
# work that is served within this time stays, however late: the next claims take it
SOON = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class QueuedWork:
    """Ready work of the real-time lane; `answers` is false for shadows and replays.

    `bound_to` is the lane that its route binds it to.
    """

    id: WorkId
    workload: str
    version_id: VersionId
    consumer: str | None
    rank_at: datetime
    due_at: datetime | None
    bound_to: Lane | None
    answers: bool = True


@dataclass(frozen=True, slots=True)
class Shed:
    """The reason why work leaves, and the chance that its batch is in time; None for work without a due time."""

    why: str
    chance: Chance | None = None

    def route(self, costs: Estimate) -> Route:
        """Return the route by which the work leaves."""
        return leave(Reason.SHED, self.why, costs, self.chance)


class Shedding:
    """The pressure on the real-time lane at `now`; `rests` are the models that do not answer."""

    def __init__(
        self,
        rests: Iterable[ModelRest],
        budgets: Sequence[BudgetStatus],
        load: Load,
        prospects: Prospects,
        *,
        now: datetime,
    ) -> None:
        known = {each.model: each for each in rests}
        self._rests = {model: each for model, each in known.items() if now - each.since >= SETTLED}
        # the queues of models that do not answer use no places
        served = [each for each in load.queues if each.model not in known]
        self._load = replace(load, queues=served).as_known()
        self._budgets, self._prospects, self._now = budgets, prospects, now

    def list_pressed(self, versions: Mapping[str, Version]) -> list[str]:
        """Return the workloads whose work may have to leave."""
        pressing = {each.budget.workload for each in self._budgets if each.is_over_soft}
        return [
            name
            for name, version in versions.items()
            if name in pressing or self._is_pressed(version)
        ]

    def line(self, versions: Mapping[str, Version], items: Mapping[str, int]) -> "QueueAhead":
        """Return the queue ahead of its last item; `items` is the number of waiting items of each workload."""
        served = {each.workload for each in self._load.queues}
        models = {name: version.spec.realtime_model for name, version in versions.items()}
        return QueueAhead(
            self._load,
            {name: (models[name], number) for name, number in items.items() if name in served},
        )

    def choose(
        self,
        waiting: Iterable[QueuedWork],
        versions: Mapping[VersionId, Version],
        line: "QueueAhead",
    ) -> dict[WorkId, Shed]:
        """Return the work that leaves, with the reasons; `waiting` starts at the end of the queue, and `line` passes each item.

        Work of a version that cannot be read stays.
        """
        leaving_work: dict[WorkId, Shed] = {}
        for work in waiting:
            line.pass_item(work.workload)
            if (
                work.version_id in versions
                and (shed := self.of(work, versions[work.version_id], line)) is not None
            ):
                leaving_work[work.id] = shed
        return leaving_work

    def of(self, waiting: QueuedWork, version: Version, line: "QueueAhead") -> Shed | None:
        """Return why this work leaves, None if it stays: it is bound, nothing presses, or a batch would be too late."""
        if (
            waiting.bound_to is not None
            or not waiting.answers
            or (why := self._find_reason(waiting, version, line)) is None
        ):
            return None
        due_at = waiting.due_at
        chance = None if due_at is None else self._prospects.of(version).chance(due_at)
        return Shed(why, chance) if may_wait(waiting.bound_to, chance) else None

    def _is_pressed(self, version: Version) -> bool:
        model = version.spec.realtime_model
        return (
            model in self._rests
            or self._load.drain_s(version.workload, model) > SOON.total_seconds()
        )

    def _find_reason(self, waiting: QueuedWork, version: Version, line: "QueueAhead") -> str | None:
        model = version.spec.realtime_model
        if (rest := self._rests.get(model)) is not None:
            return rest.describe(self._now)
        spent = find_over_soft(self._budgets, version.workload, waiting.consumer)
        if spent is not None:
            return spent.sentence
        return self._late(waiting, version, line)

    def _late(self, waiting: QueuedWork, version: Version, line: "QueueAhead") -> str | None:
        """Return how late the work would be served, None if its rank allows the wait."""
        before_s = line.before_s(version.workload)
        late_s = before_s - max(SOON, waiting.rank_at - self._now).total_seconds()
        if late_s <= 0:
            return None
        model = version.spec.realtime_model
        return f"the work before it for {model} takes {seconds(before_s)}, {seconds(late_s)} longer than it can wait"


class QueueAhead:
    """The queue ahead of a walk that starts at its end; `items` has each workload's model and its number of waiting items."""

    def __init__(self, load: Load, items: Mapping[str, tuple[str, int]]) -> None:
        self._lane = replace(load, queues=())
        self._left = {
            name: AddedItems(model, number, load.need_of(name).times(number))
            for name, (model, number) in items.items()
        }

    def pass_item(self, workload: str) -> None:
        """Pass one item of the workload: one item fewer is ahead."""
        if (ahead := self._left.get(workload)) is not None and ahead.items:
            one_less = ahead.items - 1
            self._left[workload] = AddedItems(
                ahead.model, one_less, ahead.taking.times(one_less / ahead.items)
            )

    def before_s(self, workload: str) -> float:
        """Return the seconds until real time has answered the queue ahead; 0 for a workload that is not served now."""
        ahead = self._left.get(workload)
        if ahead is None:
            return 0.0
        return self._lane.drain_s(workload, ahead.model, more=ahead, beside=self._left)
