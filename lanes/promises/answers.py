"""Promises about answers: real-time answers soon, every item gets one, and every provisional one its authoritative pass."""

from dataclasses import dataclass
from datetime import timedelta

from lanes.promises.assessment import NOWHERE, REALTIME, Assessment, share_verdict
from lanes.promises.incident import Promise
from lanes.statistics.shares import SampleShare
from lanes.text import remove_quotes
from lanes.units import counted, seconds, share
from lanes.words import Verdict
from lanes.workload.version import Version

RECENT = timedelta(minutes=15)  # the window of the promises about real-time
SLOWER_PERCENT = 5  # of the answers that may be slower than the promised p95
LONG_WAIT = 3  # times the promised p95: one item that waits longer breaks the promise by itself
LEAST_WAIT_S = 60  # an item that is tried again after a fault is no incident
FELL_BACK_WITHIN = timedelta(days=7)  # of items that fell back to a batch and still wait
SETTLED_FOR = timedelta(hours=1)  # how long a failed authoritative pass is reported
FAILED_FOR = timedelta(hours=24)  # how long failed items are reported


@dataclass(frozen=True)
class RealtimeFigures:
    """The real-time lane of a workload over the last 15 minutes.

    `p95_s` is over `answered` items, of which `slow` were slower than promised. `late` items already wait longer than promised,
    the oldest for `waits_s`; so do the `given_up` ones, whose wait goes on.
    """

    workload: str
    p95_s: float | None
    answered: int
    late: int
    attempts: int
    failed: int
    given_up: int = 0
    waits_s: float | None = None
    slow: int = 0


def realtime_slow(version: Version, figures: RealtimeFigures) -> Assessment:
    """Judge the share of the last 15 minutes that took longer than the promised p95.

    One item that waits far too long breaks the promise by itself, however few items there were.
    """
    limit, late, given_up = version.spec.promises.realtime_p95_s, figures.late, figures.given_up
    samples, waits_s = figures.answered + late + given_up, figures.waits_s or 0
    said = "Nothing was answered in the last 15 minutes and nothing waits longer than promised."
    if samples:
        said = (
            f"The p95 from received to answered is {seconds(figures.p95_s)} over the last 15 minutes "
            f"({counted(figures.answered, 'answer')}); {seconds(limit)} were promised."
        )
        if late:
            said += f" {counted(late, 'item')} already {'waits' if late == 1 else 'wait'} longer than that"
            said += f", for up to {seconds(waits_s)}." if waits_s else "."
        if given_up:
            said += f" {counted(given_up, 'item')} {'was' if given_up == 1 else 'were'} given up."
    slower = SampleShare(figures.slow + late + given_up, samples)
    judged, value = share_verdict(slower, SLOWER_PERCENT if limit else 0), figures.p95_s or 0
    if limit and judged is not Verdict.FAILED and waits_s > max(LONG_WAIT * limit, LEAST_WAIT_S):
        judged, value = Verdict.FAILED, waits_s
    promise, figure = Promise.REALTIME_SLOW, (judged, value, limit, samples, said)
    quiet = not slower.hits
    return Assessment(promise, version.workload, *figure, standstill=REALTIME, quiet=quiet)


def realtime_failing(version: Version, figures: RealtimeFigures) -> Assessment:
    """Judge the share of the attempts of the last 15 minutes that failed."""
    limit, failed = version.spec.promises.realtime_max_error_percent, figures.failed
    percent = 100 * failed / figures.attempts if figures.attempts else 0.0
    said = "Nothing was tried in the last 15 minutes."
    if figures.attempts:
        said = (
            f"{failed:,} of {counted(figures.attempts, 'attempt')} of the last 15 minutes failed: "
            f"{share(percent / 100)}, and {share(limit / 100)} is the limit."
        )
    judged = share_verdict(SampleShare(failed, figures.attempts), limit)
    promise, figure = Promise.REALTIME_FAILING, (judged, percent, limit, figures.attempts, said)
    return Assessment(promise, version.workload, *figure, standstill=REALTIME, quiet=not failed)


@dataclass(frozen=True)
class RecentItems:
    """How many items of a workload failed lately, with the key and the reason of the newest one.

    `unanswered` of them were given up because they could not be answered for too long.
    """

    workload: str
    items: int
    key: str
    reason: str
    unanswered: int = 0

    @property
    def newest(self) -> str:
        """The newest of them in words."""
        return f'The newest is "{self.key}": {remove_quotes(self.reason)}'


def authoritative_failed(name: str, failed: RecentItems | None) -> Assessment:
    """Judge by the items that keep a provisional answer."""
    promise = Promise.AUTHORITATIVE_FAILED
    if failed is None:
        said = "No authoritative pass has failed for good in the last hour."
        return Assessment(promise, name, Verdict.PASSED, 0, 0, 0, said)
    keeps = "keeps its" if failed.items == 1 else "keep their"
    said = (
        f"{counted(failed.items, 'item')} of the last hour {keeps} provisional answer because the authoritative pass failed "
        f"for good. {failed.newest}"
    )
    return Assessment.breach(promise, name, failed.items, said)


def items_failed(name: str, failed: RecentItems | None) -> Assessment:
    """Judge by the items that failed for good."""
    promise = Promise.ITEMS_FAILED
    if failed is None:
        said = "No item that failed within the last 24 hours is still without an answer."
        return Assessment(promise, name, Verdict.PASSED, 0, 0, 0, said)
    said = (
        f"{counted(failed.items, 'item')} failed within the last 24 hours; `lanes retry {name} --all` tries "
        f"{'it' if failed.items == 1 else 'them'} again. {failed.newest}"
    )
    standstill = REALTIME if failed.unanswered == failed.items else NOWHERE
    return Assessment.breach(promise, name, failed.items, said, standstill=standstill)
