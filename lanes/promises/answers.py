"""Promises about answers: fast real-time answers, an answer for every item, and the authoritative pass for provisional ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from lanes.promises import assessment
from lanes.promises.assessment import NOWHERE, REALTIME, Assessment
from lanes.promises.incident import Promise
from lanes.statistics.figures import Kind
from lanes.statistics.shares import SampleShare
from lanes.text import remove_quotes
from lanes.units import pluralize, seconds, share
from lanes.words import Verdict
from lanes.workload.version import Version

RECENT = timedelta(minutes=15)  # the window of the promises about real-time
SLOWER_PERCENT = 5  # percentage of the answers that may be slower than the promised p95
LONG_WAIT = 3  # times the promised p95: one item that waits longer breaks the promise by itself
LEAST_WAIT_S = 60  # a shorter wait is no breach by itself: an item that is retried after an error may wait as long
# maximum age of items that fell back to a batch and still wait
FELL_BACK_WITHIN = timedelta(days=7)
SETTLED_FOR = timedelta(hours=1)  # how long a failed authoritative pass is reported
FAILED_FOR = timedelta(hours=24)  # how long failed items are reported


class MinuteCount(NamedTuple):
    """One minute of a workload in a share: `n` samples, of which `bad` are bad."""

    kind: Kind
    at: datetime
    n: int
    bad: int


@dataclass(frozen=True)
class RealtimeFigures:
    """The real-time lane of a workload over the last 15 minutes, and its shares over `assessment.WINDOWS`.

    `p95_s` covers the `answered` items, the late items and the given-up items. `late` items have already waited longer than
    promised, the oldest for `waits_s`; so have the `given_up` items, whose wait continues. A sample of `timely` is an item, in
    the window in which it was answered or began to wait longer than promised (a hit). A sample of `tried` is an attempt; a hit
    failed. `aged` minutes are over 15 minutes old, and not in the figures yet. Of a busy workload, `p95_s` and the shares are
    those of a sample, and `answered` is estimated from it.
    """

    workload: str
    p95_s: float | None
    answered: int
    late: int
    given_up: int = 0
    waits_s: float | None = None
    timely: Sequence[SampleShare] = assessment.NO_WINDOWS
    tried: Sequence[SampleShare] = assessment.NO_WINDOWS
    aged: Sequence[MinuteCount] = ()


def realtime_slow(version: Version, figures: RealtimeFigures) -> Assessment:
    """Assess how fast items that take longer than the promised p95 burn the budget of 5 %.

    One item that waits far too long breaks the promise by itself, however few items there were.
    """
    limit, late, given_up = version.spec.promises.realtime_p95_s, figures.late, figures.given_up
    samples, waits_s = figures.answered + late + given_up, figures.waits_s or 0
    sentence = "Nothing was answered in the last 15 minutes and nothing waits longer than promised."
    if samples:
        sentence = (
            f"The p95 from received to answered is {seconds(figures.p95_s)} over the last 15 minutes "
            f"({pluralize(figures.answered, 'answer')}); {seconds(limit)} were promised."
        )
        if late:
            sentence += f" {pluralize(late, 'item')} already {'waits' if late == 1 else 'wait'} longer than that"
            sentence += f", for up to {seconds(waits_s)}." if waits_s else "."
        if given_up:
            sentence += (
                f" {pluralize(given_up, 'item')} {'was' if given_up == 1 else 'were'} given up."
            )
    percent = SLOWER_PERCENT if limit else 0
    verdict, place, fast = assessment.judge_burn(figures.timely, percent / 100)
    sample, value, promise = figures.timely[place], figures.p95_s or 0, Promise.REALTIME_SLOW
    if verdict is Verdict.FAILED:
        sentence += f" {_part(sample, percent, place, 'item', 'took longer, or still wait')}"
    if limit and not fast and waits_s > max(LONG_WAIT * limit, LEAST_WAIT_S):
        verdict, value, fast = Verdict.FAILED, waits_s, None
    figure = (
        promise,
        version.workload,
        verdict,
        value,
        limit,
        max(samples, sample.samples),
        sentence,
    )
    quiet = not late and not figures.timely[assessment.RECENT].hits
    return Assessment(*figure, standstill=REALTIME, quiet=quiet, fast=fast)


def judge_failing(version: Version, figures: RealtimeFigures) -> Assessment:
    """Assess how fast failed attempts burn their budget."""
    limit = version.spec.promises.realtime_max_error_percent
    verdict, place, fast = assessment.judge_burn(figures.tried, limit / 100)
    sample, sentence = figures.tried[place], "Nothing was tried in the last 30 minutes."
    if sample.samples:
        sentence = _part(sample, limit, place, "attempt", "failed")
    percent, quiet = 100 * (sample.value or 0), not figures.tried[assessment.RECENT].hits
    promise, figure = Promise.REALTIME_FAILING, (verdict, percent, limit, sample.samples, sentence)
    return Assessment(
        promise, version.workload, *figure, standstill=REALTIME, quiet=quiet, fast=fast
    )


def _part(sample: SampleShare, percent: float, place: int, noun: str, met: str) -> str:
    part = f"{sample.hits:,} of {pluralize(sample.samples, noun)} of the last {assessment.NAMES[place]}"
    return f"{part} {met}: {share(sample.value or 0)}, and {share(percent / 100)} is the limit."


@dataclass(frozen=True)
class RecentItems:
    """The number of a workload's items that failed recently, with the key and the reason of the newest one.

    `unanswered` of them were given up because they could not be answered for too long.
    """

    workload: str
    items: int
    key: str
    reason: str
    unanswered: int = 0

    @property
    def newest(self) -> str:
        """Return a sentence about the newest item."""
        return f'The newest is "{self.key}": {remove_quotes(self.reason)}'


def authoritative_failed(name: str, failed: RecentItems | None) -> Assessment:
    """Assess the items that keep a provisional answer because their authoritative pass failed."""
    promise = Promise.AUTHORITATIVE_FAILED
    if failed is None:
        sentence = "No authoritative pass has failed for good in the last hour."
        return Assessment(promise, name, Verdict.PASSED, 0, 0, 0, sentence)
    keeps = "keeps its" if failed.items == 1 else "keep their"
    sentence = (
        f"{pluralize(failed.items, 'item')} of the last hour {keeps} provisional answer because the authoritative pass failed "
        f"for good. {failed.newest}"
    )
    return Assessment.breach(promise, name, failed.items, sentence)


def items_failed(name: str, failed: RecentItems | None) -> Assessment:
    """Assess the items that failed for good."""
    promise = Promise.ITEMS_FAILED
    if failed is None:
        sentence = "No item that failed within the last 24 hours is still without an answer."
        return Assessment(promise, name, Verdict.PASSED, 0, 0, 0, sentence)
    sentence = (
        f"{pluralize(failed.items, 'item')} failed within the last 24 hours; `lanes retry {name} --all` tries "
        f"{'it' if failed.items == 1 else 'them'} again. {failed.newest}"
    )
    standstill = REALTIME if failed.unanswered == failed.items else NOWHERE
    return Assessment.breach(promise, name, failed.items, sentence, standstill=standstill)
