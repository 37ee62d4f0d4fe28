"""Only Lanes holds its roles. Broken while a session of another user holds one, kept again once that session has ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lanes.promises.assessment import BATCH, NOWHERE, REALTIME, Assessment
from lanes.promises.incident import EVERYBODY, Promise
from lanes.standing.roles import Role
from lanes.text import plain
from lanes.words import Lane, Verdict

MOST_NAMED = 3  # sessions that a sentence names
REMEDY = "run `lanes roles`, so that only members of its roles may connect"


@dataclass(frozen=True)
class ForeignHolder:
    """A session of a user who is none of Lanes, and which holds a role of Lanes. `address` is None where it is not known."""

    role: Role
    pid: int
    user: str
    application: str
    address: str | None

    @property
    def named(self) -> str:
        """The session, for a person."""
        application, address = plain(self.application, most=64), self.address or "not known"
        return f'session {self.pid} of user {plain(self.user, most=64)} (application "{application}", address {address})'


@dataclass(frozen=True)
class RoleLoss:
    """What no process of Lanes does while another session holds the role, and the lanes whose items wait for it."""

    said: str
    lanes: frozenset[Lane]


LOSSES: Mapping[Role, RoleLoss] = {
    Role.ROUTER: RoleLoss("no event is read and no item is routed", REALTIME | BATCH),
    Role.KEEPER: RoleLoss("no drain is kept warm: items wait until one starts", REALTIME),
    Role.COLLECTOR: RoleLoss("no batch is collected", BATCH),
    Role.WATCHER: RoleLoss("no other promise is judged, and Slack is told of nothing", NOWHERE),
    Role.SUBMITTER: RoleLoss("no batch is submitted", BATCH),
    Role.DRAIN: RoleLoss("no drain starts, or drains are counted wrong", REALTIME),
}


def subject_of(role: Role) -> str:
    """Return the subject of the incidents of a role."""
    return f"role {role.name.lower()}"


def lanes_of(subject: str) -> frozenset[Lane]:
    """Return the lanes whose items wait while the role of that subject is taken."""
    return next(
        (each.lanes for role, each in LOSSES.items() if subject_of(role) == subject), NOWHERE
    )


def taken(role: Role, holders: Sequence[ForeignHolder]) -> str:
    """Return a clause that says who holds the role, what stands still meanwhile, and how that ends."""
    named = holders[:MOST_NAMED]
    ends = " and ".join(f"`select pg_terminate_backend({each.pid})`" for each in named)
    return (
        f"{subject_of(role)} is held by {_named(holders)}, which {'is' if len(holders) == 1 else 'are'} none of Lanes; "
        f"meanwhile {LOSSES[role].said}: end {'it' if len(holders) == 1 else 'them'} with {ends}, and {REMEDY}"
    )


def role_taken(role: Role, holders: Sequence[ForeignHolder]) -> Assessment:
    """Return the breach that these sessions hold the role."""
    said, number = taken(role, holders), len(holders)
    return Assessment(
        Promise.ROLE_TAKEN,
        EVERYBODY,
        Verdict.FAILED,
        number,
        0,
        number,
        f"{said[:1].upper()}{said[1:]}.",
        subject_of(role),
        why=f"held by {_named(holders)}",
    )


def role_free(subject: str) -> str:
    """Return how that breach ended."""
    return f"No session of another user holds {subject} any more: Lanes takes it by itself."


def _named(holders: Sequence[ForeignHolder]) -> str:
    more = len(holders) - MOST_NAMED
    rest = [f"{more} more"] if more > 0 else []
    return " and ".join([*(each.named for each in holders[:MOST_NAMED]), *rest])
