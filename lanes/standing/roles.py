"""Roles that only one process holds at a time, and the standing runs that hold three of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from lanes.standing import runs
from lanes.standing.runs import WantedRun


class Role(IntEnum):
    """What only one process does at a time; the number is the second key of its advisory lock."""

    ROUTER = 10  # reads the event stream, admits and routes
    KEEPER = 11  # stays warm
    COLLECTOR = 12  # ticks `collect`
    WATCHER = 13  # ticks `watch`
    SUBMITTER = 14  # creates batches, one at a time
    DRAIN = 15  # shared: every drain holds it, so that they can be counted


@dataclass(frozen=True)
class StandingRun:
    """A run that always goes on: the role it holds while it lives, and the run that is asked for to take it over."""

    role: Role
    next: WantedRun

    @property
    def flow(self) -> str:
        """What people call it."""
        return self.next.deployment


STANDING = (
    StandingRun(Role.KEEPER, runs.answer(standing=True)),
    StandingRun(Role.COLLECTOR, runs.collect()),
    StandingRun(Role.WATCHER, runs.watch()),
)


def never_free(*, keep_warm: bool) -> Sequence[StandingRun]:
    """The runs whose role somebody always holds: where no drain is kept warm, the keeper's may be free."""
    return [each for each in STANDING if keep_warm or each.role is not Role.KEEPER]
