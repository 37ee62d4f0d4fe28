"""A batch's departure: which work may leave, which requests fit one batch, and when to try again."""

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Protocol

from lanes.backoff import Backoff
from lanes.packing import ClaimedWork, avoid_counts
from lanes.units import clock, pluralize


@dataclass(frozen=True)
class OutstandingWork:
    """The unsettled items of a workload, counted by the reason why they are unsettled.

    `ready` items leave with the next batch, `resting` items not before `rested_at`. `in_the_way` lists batches whose create
    is unanswered: their account sends no other batch until then. `held` batches keep their items until a person decides.
    `primer` is a batch of one request for which the ready items wait, until `primer_until` at the latest.
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
    primer: int | None = None
    primer_until: datetime | None = None

    @property
    def may_leave(self) -> bool:
        """Return whether a run of `depart` would find work."""
        return self.ready > 0 and self.paused_at is None


def announcement(work: OutstandingWork, now: datetime) -> str:
    """Return a sentence about the items that leave now, or why none leaves, and about the state of the others."""
    name = work.workload
    if work.paused_at is not None:
        waits = f"{pluralize(work.ready, 'item')} ready" if work.ready else "nothing ready"
        return (
            f"{name} has been paused since {clock(work.paused_at, beside=now)}, with {waits}: no batch of it leaves until "
            f"`lanes resume {name}`"
        )
    sentence = (
        f"{pluralize(work.ready, 'item')} of {name} will leave now"
        if work.ready
        else f"nothing of {name} is ready to leave"
    )
    clauses = [*_describe_remaining(work, now)]
    if work.ready and work.in_the_way:
        clauses.insert(
            0,
            f"they leave once the create of {_batches(work.in_the_way)} is answered or reconciled",
        )
    if work.ready and work.primer_until is not None:
        until = clock(work.primer_until, beside=now)
        clauses.insert(
            0,
            f"they leave once batch {work.primer}, which primes the provider's cache, is back, at {until} at the latest",
        )
    return ": ".join([sentence, "; ".join(clauses)]) if clauses else sentence


def _describe_remaining(work: OutstandingWork, now: datetime) -> list[str]:
    rested = clock(work.rested_at, beside=now) if work.rested_at else ""
    reasons = [
        (
            work.unrouted,
            "received and not routed yet, which takes a few seconds while a drain runs",
        ),
        (work.resting, f"resting after a failed try, the first until {rested}"),
        (work.realtime, "on the real-time lane"),
        (work.at_provider, "in batches already"),
        (
            work.held,
            f"in {_batches(work.held_batches)}, held until a person decides: `lanes batches`",
        ),
    ]
    return [f"{number:,} {why}" for number, why in reasons if number]


def _batches(ids: tuple[int, ...]) -> str:
    return f"batch{'es' if len(ids) > 1 else ''} {', '.join(map(str, ids))}"


BACKOFF = Backoff.from_seconds(2, 30)


@dataclass
class Patience:
    """The time that a run has left to wait for a busy provider; pauses double while it stays busy."""

    left_s: float = 60.0
    failures: int = 0

    def pause(self, *, retry_after_s: float | None, chance: float) -> float | None:
        """Return the seconds to wait before the next try, None when no time is left for it.

        The pause is at least as long as the provider requests; `chance`, 0 to 1, adds up to half of it to spread the callers.
        """
        pause_s = BACKOFF.seconds_after(self.failures + 1)
        wait_s = max(pause_s, retry_after_s or 0.0) * (1 + chance / 2)
        if wait_s > self.left_s:
            return None
        self.left_s -= wait_s
        self.failures += 1
        return wait_s

    def record_answer(self) -> None:
        """Reset the pause to its shortest, because the provider accepted a request."""
        self.failures = 0


AGAIN_AFTER = timedelta(minutes=2)
AGAIN_WITHIN = timedelta(hours=1)


class NotCreated(Enum):
    """The kind of a failed create, which decides what to do about its batch."""

    MAYBE = auto()  # the batch may exist: only the provider's list shows it, after the grace period
    FOR_NOW = auto()  # the provider is busy or was not reached
    FOR_GOOD = auto()  # only a person can fix the cause


def next_try(
    why: NotCreated,
    *,
    retry_after_s: float | None,
    listing_grace_s: float,
    chance: float,
    now: datetime,
) -> datetime | None:
    """Return when to try again; None if only a person can fix the cause.

    The wait is as long as the provider requests, but between two minutes and an hour; `chance`, 0 to 1, adds up to half of
    it. For a batch that may exist, the wait is the time that the provider may take to list it.
    """
    match why:
        case NotCreated.MAYBE:
            return now + timedelta(seconds=listing_grace_s)
        case NotCreated.FOR_NOW:
            wait = max(AGAIN_AFTER, timedelta(seconds=retry_after_s or 0))
            return now + min(AGAIN_WITHIN, wait * (1 + chance / 2))
        case NotCreated.FOR_GOOD:
            return None


class RequestWriter(Protocol):
    """The ordered requests of a batch that is being written; each request is a pack."""

    def __len__(self) -> int: ...

    @property
    def size(self) -> int:
        """Return the bytes of the requests."""
        ...

    def add(self, pack: Sequence[ClaimedWork]) -> None:
        """Append the pack as a request."""
        ...

    def keep(self, requests: int) -> None:
        """Drop all requests after the first `requests`."""
        ...


def fill(
    requests: RequestWriter,
    packs: Iterable[list[ClaimedWork]],
    *,
    most_requests: int,
    most_bytes: int,
    taken: Collection[int],
) -> int:
    """Write the requests of the next batch, in order, and return how many packs fit.

    The first pack is accepted whatever its size, because no other batch suits it better. Batches of the account that have
    yet to be found in the provider's list are identified by their number of requests: these numbers are `taken`, and the
    new batch must have another one. To get one, the function omits as few packs as possible at the end. If every smaller
    number is taken too, it divides packs, the fullest first; if that also fails, it writes nothing.
    """
    whole = whole_from(taken)
    divisible: list[list[ClaimedWork]] = []
    for pack in itertools.islice(packs, most_requests):
        if not _add_if_fits(requests, pack, most_bytes):
            break
        if len(requests) < whole:
            divisible.append(pack)
    fitted = len(requests)
    if fitted not in taken:
        return fitted
    requests.keep(next((number for number in range(fitted, 0, -1) if number not in taken), 0))
    if not requests:
        for pack in avoid_counts(divisible, taken):
            if not _add_if_fits(requests, pack, most_bytes):
                # Divided packs do not fit, and a batch of whole packs could not be identified.
                requests.keep(0)
                break
    return fitted


def whole_from(taken: Collection[int]) -> int:
    """Return the number of requests from which no pack needs to be divided: it or a smaller number is free."""
    return next(number for number in itertools.count(1) if number not in taken)


def _add_if_fits(requests: RequestWriter, pack: Sequence[ClaimedWork], most_bytes: int) -> bool:
    """Append the pack if it fits; return whether it did."""
    before = len(requests)
    requests.add(pack)
    if before and requests.size > most_bytes:
        requests.keep(before)
        return False
    return True
