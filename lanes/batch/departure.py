"""What of a workload could leave for the batch lane now, and what to say of it."""

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Protocol

from lanes.backoff import Backoff
from lanes.packing import ClaimedWork, avoid_counts
from lanes.units import clock, counted


@dataclass(frozen=True)
class Outstanding:
    """The items of a workload that are not answered for good, counted by what they wait for.

    `ready` ones leave with the next batch; `resting` ones not before `rested_at`. `in_the_way` are the batches whose
    create has no answer yet: none follows on their account before it has. `held` ones keep their items until a person
    decides.
    """

    workload: str
    paused_at: datetime | None
    ready: int
    resting: int
    rested_at: datetime | None
    unrouted: int
    realtime: int
    at_provider: int
    held: int
    held_batches: tuple[int, ...]
    in_the_way: tuple[int, ...]

    @property
    def may_leave(self) -> bool:
        """Whether a run of `depart` would find something."""
        return self.ready > 0 and self.paused_at is None


def announcement(of: Outstanding, now: datetime) -> str:
    """Why nothing leaves, or how many items do, each with what stays behind and who moves it on."""
    name = of.workload
    if of.paused_at is not None:
        waits = f"{counted(of.ready, 'item')} ready" if of.ready else "nothing ready"
        return (
            f"{name} is paused since {clock(of.paused_at, beside=now)}, with {waits}: nothing of it leaves before "
            f"`lanes resume {name}`"
        )
    said = (
        f"{counted(of.ready, 'item')} of {name} will leave now"
        if of.ready
        else f"nothing of {name} is ready to leave"
    )
    rest = [*_left_behind(of, now)]
    if of.ready and of.in_the_way:
        rest.insert(
            0, f"they leave once the create of {_batches(of.in_the_way)} is answered or looked into"
        )
    return ": ".join([said, "; ".join(rest)]) if rest else said


def _left_behind(of: Outstanding, now: datetime) -> list[str]:
    rested = clock(of.rested_at, beside=now) if of.rested_at else ""
    reasons = [
        (of.unrouted, "received and not routed yet, which takes a few seconds while a drain runs"),
        (of.resting, f"resting after a failed try, the first until {rested}"),
        (of.realtime, "on the real-time lane"),
        (of.at_provider, "in batches already"),
        (of.held, f"in {_batches(of.held_batches)}, held until a person decides: `lanes batches`"),
    ]
    return [f"{number:,} {why}" for number, why in reasons if number]


def _batches(ids: tuple[int, ...]) -> str:
    return f"batch{'es' if len(ids) > 1 else ''} {', '.join(map(str, ids))}"


BACKOFF = Backoff.of_seconds(2, 30)


@dataclass
class Patience:
    """What is left of it, in seconds. Pauses double while the provider stays busy."""

    left_s: float = 60.0
    failures: int = 0

    def pause(self, *, retry_after_s: float | None, chance: float) -> float | None:
        """The seconds to wait before the next try, None when patience is at an end.

        At least as long as the provider says; `chance`, 0 to 1, spreads what waits together over half a pause more.
        """
        pause_s = BACKOFF.seconds_after(self.failures + 1)
        wanted = max(pause_s, retry_after_s or 0.0) * (1 + chance / 2)
        if wanted > self.left_s:
            return None
        self.left_s -= wanted
        self.failures += 1
        return wanted

    def answered(self) -> None:
        """The provider took something: the next pause is a short one again."""
        self.failures = 0


AGAIN_AFTER = timedelta(minutes=2)
AGAIN_WITHIN = timedelta(hours=1)


class NotCreated(Enum):
    """What it means for its batch that a create failed."""

    MAYBE = (
        auto()
    )  # it may exist all the same: only the provider's list tells, after its grace period
    FOR_NOW = auto()  # the provider is busy, or was not reached at all
    FOR_GOOD = auto()  # only a person can help


def next_try(
    why: NotCreated,
    *,
    retry_after_s: float | None,
    listing_grace_s: float,
    chance: float,
    now: datetime,
) -> datetime | None:
    """When to try again, None when only a person can help.

    As long as the provider says, between two minutes and an hour; `chance`, 0 to 1, spreads what waits together over half
    of that more. What may exist is waited for as long as the provider may take to list it.
    """
    match why:
        case NotCreated.MAYBE:
            return now + timedelta(seconds=listing_grace_s)
        case NotCreated.FOR_NOW:
            wait = max(AGAIN_AFTER, timedelta(seconds=retry_after_s or 0))
            return now + min(AGAIN_WITHIN, wait * (1 + chance / 2))
        case NotCreated.FOR_GOOD:
            return None


class Requests(Protocol):
    """The requests of a batch that is being written, in their order, each a pack."""

    def __len__(self) -> int: ...

    @property
    def size(self) -> int:
        """Their bytes."""
        ...

    def add(self, pack: Sequence[ClaimedWork]) -> None:
        """The pack is the next request."""
        ...

    def keep(self, requests: int) -> None:
        """Only the first so many stay."""
        ...


def fill(
    requests: Requests,
    packs: Iterable[list[ClaimedWork]],
    *,
    most_requests: int,
    most_bytes: int,
    taken: Collection[int],
) -> int:
    """The requests are those of the next batch, in order; what does not fit waits for the one after it. How many packs fitted.

    The first is taken whatever its size: it fits nowhere else better. `taken` are the numbers of requests by which other
    batches of the account are still to be found: none of them remains, and nothing where every number is taken. The last
    ones are left then, as few as possible; where every smaller number is taken too, packs are divided, the fullest first.
    """
    whole = whole_from(taken)
    divisible: list[list[ClaimedWork]] = []
    for pack in itertools.islice(packs, most_requests):
        if not _added(requests, pack, most_bytes):
            break
        if len(requests) < whole:
            divisible.append(pack)
    fitted = len(requests)
    if fitted not in taken:
        return fitted
    requests.keep(next((number for number in range(fitted, 0, -1) if number not in taken), 0))
    if not requests:
        for pack in avoid_counts(divisible, taken):
            if not _added(requests, pack, most_bytes):
                requests.keep(0)  # divided they do not fit, and whole they could not be found
                break
    return fitted


def whole_from(taken: Collection[int]) -> int:
    """The number of requests from which on no pack is ever divided: some smaller number is free."""
    return next(number for number in itertools.count(1) if number not in taken)


def _added(requests: Requests, pack: Sequence[ClaimedWork], most_bytes: int) -> bool:
    """Whether the pack fits, and is the next request."""
    before = len(requests)
    requests.add(pack)
    if before and requests.size > most_bytes:
        requests.keep(before)
        return False
    return True
