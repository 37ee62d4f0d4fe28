"""Which requests go into one batch: within the provider's limits, and in a number that tells it from other batches."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from lanes.claims import Claimed
from lanes.packing import told_apart


@dataclass(frozen=True)
class Request:
    """A pack as it is sent; `size` is that of its body in bytes."""

    pack: list[Claimed]
    body: dict[str, Any]
    size: int


Write = Callable[[int, Sequence[Claimed]], Request]  # by the number of the request, from 0


def fitting(
    packs: Sequence[list[Claimed]], write: Write, *, most_requests: int, most_bytes: int, taken: Collection[int]
) -> list[Request]:
    """The requests of the next batch, in order; what does not fit waits for the one after it.

    The first is taken whatever its size: it fits nowhere else better. `taken` are the numbers of requests by which other
    batches of the account are still to be found; none of them is returned, and nothing where every number is taken.
    """
    requests = _within(told_apart(packs[:most_requests], taken), write, most_bytes)
    if len(requests) in taken:  # what did not fit left a number that is taken
        requests = _within(told_apart([each.pack for each in requests], taken), write, most_bytes)
    return requests if len(requests) not in taken else []


def _within(packs: Sequence[list[Claimed]], write: Write, most_bytes: int) -> list[Request]:
    found: list[Request] = []
    size = 0
    for number, pack in enumerate(packs):
        request = write(number, pack)
        if found and size + request.size > most_bytes:
            break
        size += request.size
        found.append(request)
    return found
