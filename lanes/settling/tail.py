"""Reading an append-only table by its numbers, although transactions commit in another order than they take numbers.

A row takes its number when it is written and appears when its transaction commits, so later rows may appear first. The
numbers between are kept as gaps until every transaction that may have taken them has ended.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Gap:
    """Numbers without a row so far: an open transaction may have taken them, or none ever will.

    `writers` are the open transactions that may; None stands for all that write to the table at the next look.
    """

    first: int
    last: int
    writers: frozenset[str] | None = None


class Tail:
    """How far a table was read. Every row is read once, however late it was committed.

    A reading takes three steps in this order, each seeing what was committed before it: the transactions that write to
    the table (`writing`), the rows in the `gaps`, the rows beyond `high`. Then `read` learns all three.
    """

    def __init__(
        self,
        high: int,
        missing: Sequence[tuple[int, int]] = (),
        writing: frozenset[str] = frozenset(),
    ) -> None:
        """Start at `high`; the `missing` numbers below it may have been taken by the transactions in `writing`."""
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
        """Note the `late` rows, which were in gaps, and the `fresh` ones beyond; both are in order.

        `whole` says that no gap holds another row.
        """
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
