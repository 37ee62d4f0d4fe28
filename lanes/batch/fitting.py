"""Which requests go into one batch: within the provider's limits, and in a number that tells it from other batches."""

import itertools
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from lanes.packing import ClaimedWork, avoid_counts


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
