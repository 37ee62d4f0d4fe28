"""Rounds in which contenders take turns, so that a noisy minute harms all of them; each contender's median is reported."""

import statistics
from collections.abc import Callable, Mapping, Sequence

Figures = Mapping[str, float]


def take_turns(
    contenders: Mapping[str, Callable[[], Figures]], *, rounds: int
) -> dict[str, dict[str, float]]:
    """Return the median of each figure of each contender; every round is printed as it ends."""
    seen: dict[str, list[Figures]] = {name: [] for name in contenders}
    for number in range(1, rounds + 1):
        for name, measure in contenders.items():
            figures = measure()
            seen[name].append(figures)
            said = " ".join(f"{what}={value:,.4g}" for what, value in figures.items())
            print(f"round {number} of {rounds}: {name} {said}", flush=True)
    return {name: medians(several) for name, several in seen.items()}


def medians(several: Sequence[Figures]) -> dict[str, float]:
    """Return the median of each figure that all of them have."""
    return {what: statistics.median(each[what] for each in several) for what in several[0]}
