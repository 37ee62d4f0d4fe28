"""Roles and locks that one process holds at a time, the runs that hold three of the roles, and how a free role is taken.

Drains, `collect`, `watch` and the supervisor check for free roles. Each process has its own `Vacancies`. `replacement`, which
Prefect deduplicates by its key, and `may_take_role` ensure that all of them together request one run.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum, unique

from lanes.standing import runs
from lanes.standing.runs import WantedRun

LOOK_EVERY_S = 1.0
FREE_FOR = timedelta(seconds=0.75)  # the role must be free at two consecutive checks
# A run that is due within this time counts as coming, as runs of automations do.
SOON = timedelta(seconds=5)
KEY_S = 10  # requests within this time result in one run
AGAIN_AFTER = timedelta(seconds=12)  # the time between two requests; must be longer than KEY_S
# A worker accepted the run and starts its process, which imports its packages.
PENDING_FOR = timedelta(seconds=60)
DOUBTED_AFTER = timedelta(seconds=10)  # a process on a lost host cannot be told from a slow one
BEGINNING_FOR = timedelta(seconds=20)  # the process opens its connections
OPEN = ("SCHEDULED", "PENDING", "RUNNING")  # the states of the runs that are checked
NEWEST = 20  # how many of a deployment's runs in these states are checked


class Role(IntEnum):
    """A task that one process performs at a time; the number is the second key of its advisory lock."""

    ROUTER = 10  # reads the event stream, admits and routes
    KEEPER = 11  # stays warm
    COLLECTOR = 12  # ticks `collect`
    WATCHER = 13  # ticks `watch`
    SUBMITTER = 14  # creates batches, one at a time
    DRAIN = 15  # shared: every drain holds this role, so that the drains can be counted
    STANDBY = 16  # stays warm on another host than the keeper, where two drains are kept warm


@unique
class Lock(IntEnum):
    """The advisory locks with a single key. Two purposes with the same number would wait for each other."""

    UPGRADE = 7_016_001  # one upgrade or deploy at a time
    ROUTING = 7_016_002  # one transaction routes at a time, even while the role changes hands
    INDEXES = 7_016_003  # one upgrade at a time builds indexes
    FOLDING = 7_016_021  # one transaction folds, or rebuilds, at a time


@dataclass(frozen=True)
class StandingRun:
    """A run that never ends: the role that it holds, and its successor in this role."""

    role: Role
    next: WantedRun

    @property
    def flow(self) -> str:
        """The name of the run's flow."""
        return self.next.deployment


STANDING = (
    StandingRun(Role.KEEPER, runs.answer(standing=True)),
    StandingRun(Role.COLLECTOR, runs.collect()),
    StandingRun(Role.WATCHER, runs.watch()),
)


SPARE = StandingRun(Role.STANDBY, runs.answer())


def never_free(*, keep_warm: int) -> Sequence[StandingRun]:
    """Return the runs whose roles must always be held while `keep_warm` drains are kept warm."""
    held = [each for each in STANDING if keep_warm or each.role is not Role.KEEPER]
    return [*held, SPARE] if keep_warm > 1 else held


class Vacancies:
    """The times since which each role has been free, as seen by one process, and the times of that process's requests."""

    def __init__(self, *, free_for: timedelta = FREE_FOR, again_after: timedelta = AGAIN_AFTER):
        self._free_for, self._again_after = free_for, again_after
        self._free_since: dict[Role, datetime] = {}
        self._asked_at: dict[Role, datetime] = {}

    def to_ask(
        self, watched: Iterable[StandingRun], held: Collection[int], now: datetime
    ) -> list[StandingRun]:
        """Return the watched runs to request now; a role that was held since the last check counts as newly free."""
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

    def record_request(self, role: Role, now: datetime) -> None:
        """Record that a run was requested; the run has `again_after` to take the role."""
        self._asked_at[role] = now


def replacement(run: StandingRun, now: datetime) -> WantedRun:
    """Return the run that takes the free role; requests within the same `KEY_S` seconds share one key."""
    key = f"standing {run.role.name.lower()} {int(now.timestamp()) // KEY_S}"
    return replace(run.next, key=key)


@dataclass(frozen=True)
class DeploymentRun:
    """A run of the deployment, as Prefect shows it."""

    state: str  # the type of its state, such as PENDING
    since: datetime  # the start of this state; for a scheduled run, its due time


def may_take_role(runs: Iterable[DeploymentRun], now: datetime) -> bool:
    """Return whether one of the runs may still take the role, so that another would only lengthen the queue.

    A due run may wait for a worker for any length of time. A run that a worker accepted, or that has started, has limited
    time, because a killed process looks like one that is starting. A single run whose process starts slowly does not
    count: one more is requested.
    """
    coming = [each for each in runs if _may_come(each, now)]
    doubted = [each for each in coming if _is_doubted(each, now)]
    return len(coming) > len(doubted) or len(doubted) > 1


def _may_come(run: DeploymentRun, now: datetime) -> bool:
    age = now - run.since
    match run.state:
        case "SCHEDULED":
            return age >= -SOON
        case "PENDING":
            return age < PENDING_FOR
        case "RUNNING":
            return age < BEGINNING_FOR
        case _:
            return False


def _is_doubted(run: DeploymentRun, now: datetime) -> bool:
    return run.state == "PENDING" and now - run.since >= DOUBTED_AFTER
