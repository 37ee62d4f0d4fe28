"""The real-time lane answers soon, and few of its attempts fail."""

from dataclasses import dataclass
from datetime import timedelta

from lanes.money.always_valid import Share
from lanes.promises.assessment import REALTIME, Assessment, share_verdict
from lanes.promises.incident import Promise
from lanes.units import counted, seconds, share
from lanes.words import Verdict
from lanes.workload.version import Version

RECENT = timedelta(minutes=15)  # what these promises look at
SLOWER_PERCENT = 5  # of the answers may be slower than the p95 that is promised
LONG_WAIT = 3  # times the promised p95: what waits longer breaks the promise by itself, however little it is
LEAST_WAIT_S = 60  # but an item that is tried again after a fault is no incident
FELL_BACK_WITHIN = timedelta(
    days=7
)  # how far back those are looked for that fell back to a batch and still wait


@dataclass(frozen=True)
class RealtimeSeen:
    """The real-time lane of a workload over the last 15 minutes.

    `p95_s` is over `answered` items, `slow` of them slower than promised, those that already wait longer than promised,
    `late`, and those that were `given_up`, whose wait goes on. `waits_s` is how long the oldest of `late` waits.
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


def realtime_slow(version: Version, seen: RealtimeSeen) -> Assessment:
    """Judge the share of the last 15 minutes that took longer than the promised p95.

    One item that waits far too long breaks the promise by itself, however little was asked.
    """
    limit, samples = version.spec.promises.realtime_p95_s, seen.answered + seen.late + seen.given_up
    waits_s = seen.waits_s or 0
    if samples:
        said = (
            f"The p95 from received to answered is {seconds(seen.p95_s)} over the last 15 minutes "
            f"({counted(seen.answered, 'answer')}); {seconds(limit)} were promised."
        )
        if seen.late:
            said += f" {counted(seen.late, 'item')} already {'waits' if seen.late == 1 else 'wait'} longer than that"
            said += f", for up to {seconds(waits_s)}." if waits_s else "."
        if seen.given_up:
            said += f" {counted(seen.given_up, 'item')} {'was' if seen.given_up == 1 else 'were'} given up."
    else:
        said = "Nothing was answered in the last 15 minutes and nothing waits longer than promised."
    slower = Share(seen.slow + seen.late + seen.given_up, samples)
    judged, value = share_verdict(slower, SLOWER_PERCENT if limit else 0), seen.p95_s or 0
    if limit and judged is not Verdict.FAILED and waits_s > max(LONG_WAIT * limit, LEAST_WAIT_S):
        judged, value = Verdict.FAILED, waits_s
    return Assessment(
        Promise.REALTIME_SLOW,
        version.workload,
        judged,
        value,
        limit,
        samples,
        said,
        standstill=REALTIME,
        quiet=not slower.hits,
    )


def realtime_failing(version: Version, seen: RealtimeSeen) -> Assessment:
    """Judge the share of the attempts of the last 15 minutes that failed."""
    limit = version.spec.promises.realtime_max_error_percent
    percent = 100 * seen.failed / seen.attempts if seen.attempts else 0.0
    said = "Nothing was tried in the last 15 minutes."
    if seen.attempts:
        said = (
            f"{seen.failed:,} of {counted(seen.attempts, 'attempt')} of the last 15 minutes failed: "
            f"{share(percent / 100)}, and {share(limit / 100)} is the limit."
        )
    judged = share_verdict(Share(seen.failed, seen.attempts), limit)
    return Assessment(
        Promise.REALTIME_FAILING,
        version.workload,
        judged,
        percent,
        limit,
        seen.attempts,
        said,
        standstill=REALTIME,
        quiet=not seen.failed,
    )
