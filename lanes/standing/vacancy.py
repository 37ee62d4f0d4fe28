"""When a standing run is asked for: its role has been free for a while, and no other run is on its way to take it.

Whoever lives looks: drains, `collect`, `watch`, the supervisor. Each keeps its own `Vacancies`; that together they ask
once is the work of `replacement`, of which Prefect makes one run, and of `on_its_way`.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from lanes.standing.roles import Role, StandingRun
from lanes.standing.runs import WantedRun

LOOK_EVERY_S = 5.0
FREE_FOR = timedelta(seconds=20)  # longer than a run that was asked for otherwise takes to begin
AGAIN_AFTER = timedelta(
    seconds=60
)  # from one asking to the next; at least the minute that the key of a `replacement` names
PENDING_FOR = timedelta(seconds=60)  # a worker took the run and starts its process
BEGINNING_FOR = timedelta(
    seconds=60
)  # the process runs, loads its packages and opens its connections
OPEN = ("SCHEDULED", "PENDING", "RUNNING")  # states of the runs that are looked at
NEWEST = 20  # of a deployment's runs in these states


class Vacancies:
    """Since when each role has been free in the eyes of one looker, and when it asked for a run."""

    def __init__(
        self, *, free_for: timedelta = FREE_FOR, again_after: timedelta = AGAIN_AFTER
    ) -> None:
        self._free_for, self._again_after = free_for, again_after
        self._free_since: dict[Role, datetime] = {}
        self._asked_at: dict[Role, datetime] = {}

    def to_ask(
        self, watched: Iterable[StandingRun], held: Collection[int], now: datetime
    ) -> list[StandingRun]:
        """Of the runs watched, those to ask for now. A role that was seen held in between counts as free from anew."""
        due: list[StandingRun] = []
        for run in watched:
            if run.role in held:
                self._free_since.pop(run.role, None)
                self._asked_at.pop(run.role, None)
                continue
            free_since = self._free_since.setdefault(run.role, now)
            asked_at = self._asked_at.get(run.role)
            rested = asked_at is None or now - asked_at >= self._again_after
            if rested and now - free_since >= self._free_for:
                due.append(run)
        return due

    def asked(self, role: Role, now: datetime) -> None:
        """A run was asked for; it has a minute to take the role."""
        self._asked_at[role] = now


def replacement(of: StandingRun, now: datetime) -> WantedRun:
    """The run that takes the free role: one and the same for all who ask for it within a minute."""
    return of.next.once_a_minute(f"standing {of.role.name.lower()}", now)


@dataclass(frozen=True)
class SeenRun:
    """A run of the deployment as Prefect shows it."""

    state: str  # the type of its state, such as PENDING
    since: datetime  # when it came into that state; of a scheduled run, when it is due


def on_its_way(runs: Iterable[SeenRun], now: datetime) -> bool:
    """Whether one of the runs may still take the role: asking for another would only add to what waits.

    One that is due waits for a worker, however long. One that a worker took, or that has begun, has a limited time:
    a process that was killed meanwhile is told from one that begins by nothing else.
    """
    return any(_may_come(each, now) for each in runs)


def _may_come(run: SeenRun, now: datetime) -> bool:
    age = now - run.since
    match run.state:
        case "SCHEDULED":
            return age >= timedelta(0)
        case "PENDING":
            return age < PENDING_FOR
        case "RUNNING":
            return age < BEGINNING_FOR
        case _:
            return False
