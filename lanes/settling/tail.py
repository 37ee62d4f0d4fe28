"""Reading on in an append-only table by its numbers, although transactions commit in another order than they number in.

A number is given when a row is written, and the row is seen when its transaction commits: later ones may be seen first.
What lies between the seen ones is therefore kept in mind as gaps, until whoever may have filled them has ended.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Gap:
    """Numbers of which no row was seen: an open transaction may have taken them, or nobody ever will.

    `writers` are the open transactions that may; None: whoever writes to the table when it is looked at next.
    """

    first: int
    last: int
    writers: frozenset[str] | None = None


class Tail:
    """How far a table was read. Every row is read once, however late it was committed.

    A reading goes in this order, each step seeing what was committed before it: who writes to the table (`writing`),
    the rows in the `gaps`, the rows beyond `high`. Then `read` is told of all three.
    """

    def __init__(
        self,
        high: int,
        missing: Sequence[tuple[int, int]] = (),
        writing: frozenset[str] = frozenset(),
    ) -> None:
        """Everything up to `high` was seen but for what is `missing` of it, which those who are `writing` may have taken."""
        self.high = high
        self.gaps = [Gap(first, last, writing) for first, last in missing] if writing else []

    def read(
        self,
        writing: frozenset[str],
        late: Sequence[int],
        fresh: Sequence[int],
        *,
        whole: bool = True,
    ) -> None:
        """The rows `late` were in gaps, those of `fresh` lie beyond; both are in order. `whole`: no gap holds another."""
        left = (
            [replace(gap, writers=_may_fill(gap, writing)) for gap in self.gaps]
            if whole
            else self.gaps
        )
        open_ = [gap for gap in left if gap.writers is None or gap.writers]
        self.gaps = [part for gap in open_ for part in _without(gap, late)]
        self.gaps += _between(self.high, fresh)
        self.high = fresh[-1] if fresh else self.high


def _may_fill(gap: Gap, writing: frozenset[str]) -> frozenset[str]:
    return writing if gap.writers is None else gap.writers & writing


def _without(gap: Gap, taken: Sequence[int]) -> Iterator[Gap]:
    first = gap.first
    for number in taken[bisect_left(taken, gap.first) : bisect_right(taken, gap.last)]:
        if number > first:
            yield replace(gap, first=first, last=number - 1)
        first = number + 1
    if first <= gap.last:
        yield replace(gap, first=first)


def _between(high: int, fresh: Sequence[int]) -> Iterator[Gap]:
    for number in fresh:
        if number > high + 1:
            yield Gap(high + 1, number - 1)
        high = number
