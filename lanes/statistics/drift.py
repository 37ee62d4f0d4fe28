"""Whether the shares of classes in a stream have changed since some moment: a test that holds however long it runs.

Each look adds an e-process that begins with it, and alarms once their sum reaches a threshold (an e-detector of the
Shiryaev-Roberts kind: Shin, Ramdas and Rinaldo, New England Journal of Statistics in Data Science 2, 2024). While nothing
changes the sum grows by at most 1 a look on average, so a threshold of A lets a false alarm come after A looks on average, or
later. That holds for any number of items in a look, and where earlier beginnings are dropped (`thinned`), which lowers the sum.

The shares before are not known but counted: an e-process is the probability of what came since, by a mixture of shares, half
of it around that before and half anywhere, over its probability by what came before alone (the Dirichlet-multinomial
predictive, of a uniform prior). Its mean is 1 over all shares that the prior allows, each equally likely; a simulation in
the tests shows how rare false alarms are for single ones. All that came before a beginning is its reference, so the test
sharpens.
"""

from collections.abc import Collection, Sequence
from itertools import accumulate
from math import exp, inf, lgamma, log, log1p
from typing import NamedTuple

from lanes.statistics.shares import SampleShare

# squared standard deviations below which an e-process is left out of the sum, which only lowers it
NEGLIGIBLE = 6
SPREAD = 20  # of the half around the share before, as a number of items: wider for fewer


class Shift(NamedTuple):
    """A class whose share has changed: from which portion on, and its shares until and since then."""

    portion: int
    place: int
    before: SampleShare
    since: SampleShare


def log_e_value(before: SampleShare, since: SampleShare, *, classes: int) -> float:
    """Return the logarithm of the evidence that the share `since` is not that `before`, of one of that many classes."""
    misses, missed = before.samples - before.hits, since.samples - since.hits
    hits_prior, misses_prior = before.hits + 1, misses + classes - 1
    near = SPREAD / (hits_prior + misses_prior)
    little = _log_odds(near * hits_prior, near * misses_prior, since.hits, missed)
    much = _log_odds(1, 1, since.hits, missed)
    changed = max(little, much) + log1p(exp(-abs(little - much))) - log(2)
    return changed - _log_odds(hits_prior, misses_prior, since.hits, missed)


def detect(
    portions: Sequence[Sequence[int]], watched: Collection[int], *, rises: bool = False
) -> tuple[float, Shift | None]:
    """Return the logarithm of the sum, and the most likely shift, of counts by class in the order in which they came.

    The first portion is the reference. `watched` are the places of the classes that may shift; with `rises` only upwards.
    """
    classes, whole = len(portions[0]), [sum(each) for each in portions]
    upto = [list(accumulate(each)) for each in (whole, *zip(*portions, strict=True))]
    found, largest, best = list[float](), -inf, None
    for place in watched:
        counted = upto[place + 1]
        for portion in range(1, len(portions)):
            samples, hits = upto[0][portion - 1], counted[portion - 1]
            sampled, hit = upto[0][-1] - samples, counted[-1] - hits
            usual = (hits + 1) / (samples + classes)
            surplus = hit - sampled * usual
            deviation = sampled * usual * (1 - usual) * (1 + sampled / samples)
            if surplus * surplus < NEGLIGIBLE * deviation or (rises and surplus < 0):
                continue
            before, since = SampleShare(hits, samples), SampleShare(hit, sampled)
            found.append(log_e_value(before, since, classes=classes))
            if found[-1] > largest:
                largest, best = found[-1], Shift(portion, place, before, since)
    if not found:
        return -inf, None
    return largest + log(sum(exp(each - largest) for each in found) / len(watched)), best


def thinned(sizes: Sequence[int], *, most: int) -> int | None:
    """Return the portion to merge with the next, so that at most `most` are left and the newest stay the finest; or None.

    The reference, the first, is left alone.
    """
    if len(sizes) <= most:
        return None
    since = list(accumulate(reversed(sizes)))[::-1]
    return min(range(1, len(sizes) - 2), key=lambda each: since[each] / since[each + 2])


def _log_odds(hits_prior: float, misses_prior: float, hits: int, misses: int) -> float:
    """Return the logarithm of the probability of a sequence of hits and misses by a beta prior."""
    prior, items = hits_prior + misses_prior, hits + misses
    return (
        lgamma(hits_prior + hits)
        - lgamma(hits_prior)
        + lgamma(misses_prior + misses)
        - lgamma(misses_prior)
        - lgamma(prior + items)
        + lgamma(prior)
    )
