"""What batches bring home: every item its outcome, few of them failed, few of them invalid."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from lanes.batch.collection import Tally
from lanes.ids import BatchId
from lanes.money.always_valid import Share
from lanes.promises.assessment import LEAST_CLEAN, Assessment, share_verdict
from lanes.promises.batch_runs import BatchSeen, of_batch
from lanes.promises.incident import Promise
from lanes.units import counted, share
from lanes.words import BatchState, Verdict
from lanes.workload.version import Version

JUDGED_FOR = timedelta(hours=24)  # how long a collected batch speaks for its workload


def incomplete(
    workload: str, batch_id: BatchId, tally: Tally, *, flow_run_id: UUID | None = None
) -> Assessment:
    """Whether every item of a collected batch has exactly one outcome, from a result of its own."""
    said = f"Each of the {counted(tally.items, 'item')} of batch {batch_id} has one outcome."
    if tally.surplus:
        said = f"Batch {batch_id} has {counted(tally.outcomes, 'outcome')} of {counted(tally.items, 'item')}."
    if tally.missing:
        lost = f"{tally.missing:,} of {counted(tally.items, 'item')} of batch {batch_id} came home without a result"
        said = (
            f"{lost}, however often the results were read. {said if tally.surplus else ''}".rstrip()
        )
    judged = Verdict.FAILED if tally.wrong else Verdict.PASSED
    return Assessment(
        Promise.BATCH_INCOMPLETE,
        workload,
        judged,
        tally.wrong,
        0,
        tally.items,
        said,
        of_batch(batch_id),
        flow_run_id=flow_run_id,
    )


def batch_incomplete(batch: BatchSeen, now: datetime) -> Assessment:
    """Judge the batch as when it was closed, until its missing items have an answer, or for a day."""
    tally = Tally(batch.items, batch.succeeded + batch.invalid + batch.failed, batch.missing)
    judged = incomplete(batch.workload, batch.id, tally)
    if judged.verdict is Verdict.PASSED:
        return judged
    if batch.over_at is not None and now - batch.over_at > JUDGED_FOR:
        return replace(
            judged,
            verdict=Verdict.PASSED,
            sentence=f"{judged.sentence} That was more than a day ago.",
        )
    if not tally.surplus and not batch.owed:
        return replace(
            judged,
            verdict=Verdict.PASSED,
            sentence=f"{judged.sentence} None of them needs an answer any more.",
        )
    return judged


def batch_share(
    version: Version, promise: Promise, batches: Sequence[BatchSeen], now: datetime
) -> Assessment:
    """Judge the newest batches of the version in force: as many together as are needed to say something.

    A batch that still runs can only break the promise, by what it has brought so far. An open incident ends too where the
    newest batches hold enough items and none of them is bad.
    """
    promises = version.spec.promises
    failing = promise is Promise.BATCH_FAILING
    limit = promises.batch_max_failure_percent if failing else promises.batch_max_invalid_percent
    what = "items have no answer" if failing else "answers break the output schema"
    pooled, home = Share(0, 0), 0
    for batch in sorted(batches, key=lambda each: each.id, reverse=True):
        let_go = batch.cancelled or batch.state in (BatchState.SUPERSEDED, BatchState.RELEASED)
        if let_go or not batch.in_force or (batch.over_at and now - batch.over_at > JUDGED_FOR):
            continue
        collected = batch.state is BatchState.COLLECTED
        seen = Share(
            batch.failed if failing else batch.invalid,
            batch.succeeded + batch.invalid if collected and not failing else batch.items,
        )
        where = f"batch {batch.id}"
        if collected:
            seen = pooled = Share(pooled.hits + seen.hits, pooled.samples + seen.samples)
            home += 1
            where = where if home == 1 else f"the last {home} batches"
        judged = share_verdict(seen, limit)
        quiet = collected and not seen.hits and seen.samples >= LEAST_CLEAN
        if (judged is Verdict.INCONCLUSIVE and not quiet) or (
            judged is Verdict.PASSED and not collected
        ):
            continue
        part = seen.value or 0.0
        said = f"{seen.hits:,} of {seen.samples:,} {what} in {where}: {share(part)}, and {share(limit / 100)} is the limit."
        return Assessment(
            promise, version.workload, judged, 100 * part, limit, seen.samples, said, quiet=quiet
        )
    said = f"{pooled.hits:,} of {pooled.samples:,} {what} in the batches of the last 24 hours: too little to judge by."
    if not pooled.samples:
        said = "No batch of the last 24 hours is beyond the limit."
    judged = Verdict.INCONCLUSIVE if pooled.samples else Verdict.PASSED
    return Assessment(promise, version.workload, judged, 0, limit, pooled.samples, said)
