"""Roles that one process holds at a time, the standing runs that hold three of them, and how a free role is filled.

Drains, `collect`, `watch` and the supervisor look for free roles. Each has its own `Vacancies`; `replacement`, of which Prefect
makes one run, and `may_take_role` ensure that together they request one run.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum

from lanes.standing import runs
from lanes.standing.runs import WantedRun

LOOK_EVERY_S = 1.0
FREE_FOR = timedelta(seconds=0.75)  # at two looks in a row
SOON = timedelta(seconds=5)  # a run that is due by then is on its way, as those of automations are
KEY_S = 10  # requests within this time are one run
AGAIN_AFTER = timedelta(seconds=12)  # between requests; longer than KEY_S
# A worker took the run and starts its process, which loads its packages.
PENDING_FOR = timedelta(seconds=60)
DOUBTED_AFTER = timedelta(seconds=10)  # a process on a host that is lost looks like a slow one
BEGINNING_FOR = timedelta(seconds=20)  # the process opens its connections
OPEN = ("SCHEDULED", "PENDING", "RUNNING")  # states of the runs that are looked at
NEWEST = 20  # of a deployment's runs in these states


class Role(IntEnum):
    """A task of one process at a time; the number is the second key of its advisory lock."""

    ROUTER = 10  # reads the event stream, admits and routes
    KEEPER = 11  # stays warm
    COLLECTOR = 12  # ticks `collect`
    WATCHER = 13  # ticks `watch`
    SUBMITTER = 14  # creates batches, one at a time
    DRAIN = 15  # shared: every drain holds it, so that they can be counted
    STANDBY = 16  # stays warm on another host than the keeper's, where two drains are kept warm


@dataclass(frozen=True)
class StandingRun:
    """A run that never ends: the role that it holds, and the run that takes the role over."""

    role: Role
    next: WantedRun

    @property
    def flow(self) -> str:
        """The name of its flow."""
        return self.next.deployment


STANDING = (
    StandingRun(Role.KEEPER, runs.answer(standing=True)),
    StandingRun(Role.COLLECTOR, runs.collect()),
    StandingRun(Role.WATCHER, runs.watch()),
)


SPARE = StandingRun(Role.STANDBY, runs.answer())


def never_free(*, keep_warm: int) -> Sequence[StandingRun]:
    """Return the runs whose role must be held while `keep_warm` drains are kept warm."""
    held = [each for each in STANDING if keep_warm or each.role is not Role.KEEPER]
    return [*held, SPARE] if keep_warm > 1 else held


class Vacancies:
    """Since when each role has been free, as one process sees it, and when that process requested a run."""

    def __init__(self, *, free_for: timedelta = FREE_FOR, again_after: timedelta = AGAIN_AFTER):
        self._free_for, self._again_after = free_for, again_after
        self._free_since: dict[Role, datetime] = {}
        self._asked_at: dict[Role, datetime] = {}

    def to_ask(
        self, watched: Iterable[StandingRun], held: Collection[int], now: datetime
    ) -> list[StandingRun]:
        """Return the watched runs to request now; a role that was held in between counts as newly free."""
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
        """Record that a run was requested; it has `again_after` to take the role."""
        self._asked_at[role] = now


def replacement(of: StandingRun, now: datetime) -> WantedRun:
    """Return the run that takes the free role: the same run for all requests within `KEY_S` seconds."""
    key = f"standing {of.role.name.lower()} {int(now.timestamp()) // KEY_S}"
    return replace(of.next, key=key)


@dataclass(frozen=True)
class DeploymentRun:
    """A run of the deployment as Prefect shows it."""

    state: str  # the type of its state, such as PENDING
    since: datetime  # when it came into that state; of a scheduled run, when it is due


def may_take_role(runs: Iterable[DeploymentRun], now: datetime) -> bool:
    """Return whether one of the runs may still take the role, so that another would only add to the queue.

    A due run may wait for a worker for any time. A run that a worker took, or that has begun, has a limited time, because a
    killed process looks like one that begins. A single run whose process starts slowly does not count: one more is requested.
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
