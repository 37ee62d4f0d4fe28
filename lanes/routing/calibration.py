"""Whether batches are back as often as it was stated: what routes said, against what became of their batches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

# Items that go to a batch are told high probabilities: there the bins are narrow.
EDGES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)


@dataclass(frozen=True)
class Told:
    """What was stated to some items of a workload within one bin, the n-th between two `EDGES` from 1 on.

    `stated` and `squares` are sums over these items: of the probabilities, and of the squares of what they were off by.
    """

    workload: str
    bin: int
    items: int
    back: int
    stated: float
    squares: float


@dataclass(frozen=True)
class Bin:
    """The items that were told a probability from `low` to below `high`: its mean, and the share whose batch was back."""

    low: float
    high: float
    items: int
    stated: float
    back: float


@dataclass(frozen=True)
class Calibration:
    """How right the probabilities of a workload were. `brier` is the mean square of what they were off by: 0 is perfect, 0.25
    is what saying one half of everything would get."""

    workload: str
    items: int
    stated: float
    back: float
    brier: float
    bins: Sequence[Bin]


def calibrations(told: Iterable[Told]) -> list[Calibration]:
    """That of each workload, by name; none of one without items."""
    ordered = sorted(
        (each for each in told if each.items), key=lambda each: (each.workload, each.bin)
    )
    return [
        _of(workload, list(rows))
        for workload, rows in groupby(ordered, key=lambda each: each.workload)
    ]


def _of(workload: str, told: Sequence[Told]) -> Calibration:
    items = sum(each.items for each in told)
    bins = [
        Bin(
            EDGES[each.bin - 1],
            EDGES[each.bin],
            each.items,
            each.stated / each.items,
            each.back / each.items,
        )
        for each in told
    ]
    return Calibration(
        workload,
        items,
        stated=sum(each.stated for each in told) / items,
        back=sum(each.back for each in told) / items,
        brier=sum(each.squares for each in told) / items,
        bins=bins,
    )
