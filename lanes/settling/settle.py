"""The consequence of an attempt for its work and its item. Only this module sets the standing of answers."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, assert_never

from lanes.backoff import Backoff
from lanes.json_data import is_same_json
from lanes.settling.outcome import Judgment
from lanes.units import pluralize
from lanes.words import MEASURING, Announces, Lane, Mode, Outcome, Purpose, Standing, WorkState

BACKOFF = Backoff(timedelta(seconds=2), timedelta(minutes=5))  # back-off of work, and of batches
# the item was not tried, or not alone: these outcomes spend no retry budget
FREE = (Outcome.CANCELED, Outcome.EXPIRED, Outcome.PACK_REFUSED, Outcome.UNSERVED)
# the provider answered: no back-off is needed
ANSWERED = (Outcome.INVALID, Outcome.REFUSED, Outcome.TRUNCATED, Outcome.PACK_REFUSED)
HOPELESS = (Outcome.POISON,)  # the same input will fail again, on either lane
# not tried again on this lane, even with retry budget left
FINAL = (*HOPELESS, Outcome.GIVEN_UP)


class BatchDebt(StrEnum):
    """The batch work that an item is owed after an attempt on the real-time lane."""

    PASS = "pass"  # the authoritative pass over the provisional answer: work, but no route
    ANSWER = "answer"  # real time could not answer it: a route to the batch lane, and work


@dataclass(frozen=True)
class Obligation:
    """The work that an attempt was for; `failures` is the number of failures spent before the attempt.

    `item_answered` includes answers of older revisions. `others_open` is true if other open work is owed for the item's newest
    revision, `may_wait` if a batch would be soon enough, `other_model` if a batch would use another model than real time, and
    `not_sampled` if a provisional answer stays without its second pass.
    """

    purpose: Purpose
    lane: Lane
    mode: Mode
    failures: int
    max_failures: int
    is_newest_revision: bool = True
    item_canceled: bool = False
    item_settled: bool = False
    item_answered: bool = False
    others_open: bool = False
    may_wait: bool = True
    other_model: bool = False
    not_sampled: bool = False
    compare_fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Correction:
    """The difference of an authoritative answer from the provisional one; `distance` is the share of changed fields, 0 to 1."""

    changed_fields: list[str]
    distance: float


@dataclass(frozen=True)
class Consequence:
    """The changes to write. Without a `standing`, the attempt is recorded but no answer is shown."""

    work_state: WorkState
    failures: int
    ready_at: datetime | None = None
    standing: Standing | None = None
    settles: bool = False
    fails: bool = False
    owes: BatchDebt | None = None
    correction: Correction | None = None
    failure: str | None = None
    alone: bool = False  # from now on the item shares its call with no other item


def consequence(
    obligation: Obligation,
    judgment: Judgment,
    *,
    provisional: dict[str, Any] | None,
    earlier: dict[str, Any] | None = None,
    now: datetime,
) -> Consequence:
    """Return the consequence of an attempt; `provisional` is the item's provisional output, if any.

    `earlier` is the shown output of an older revision: it stays until the newest revision has its authoritative answer, which
    corrects it. The first valid answer of a standing wins; a late answer is recorded and never shown. A replay's answer has its
    standing in its own generation and never moves the item.
    """
    if judgment.outcome is Outcome.VALID:
        return _decide_after_answer(obligation, judgment.output or {}, provisional, earlier)
    return _decide_after_failure(obligation, judgment, provisional, now)


def compare(
    provisional: dict[str, Any], authoritative: dict[str, Any], fields: tuple[str, ...]
) -> Correction | None:
    """Return the correction between two answers over `fields` (empty: all), None if they agree."""
    names = fields or tuple(sorted(provisional.keys() | authoritative.keys()))
    missing = object()
    changed = [
        n
        for n in names
        if not is_same_json(provisional.get(n, missing), authoritative.get(n, missing))
    ]
    return Correction(changed, len(changed) / len(names)) if changed else None


def _decide_after_answer(
    obligation: Obligation,
    output: dict[str, Any],
    provisional: dict[str, Any] | None,
    earlier: dict[str, Any] | None,
) -> Consequence:
    done = Consequence(WorkState.DONE, obligation.failures)
    if (
        obligation.purpose in MEASURING
        or obligation.item_canceled
        or not obligation.is_newest_revision
    ):
        return done
    if obligation.purpose is Purpose.REPLAY:
        return Consequence(WorkState.DONE, obligation.failures, standing=Standing.AUTHORITATIVE)
    if obligation.item_settled:
        return done
    if (
        obligation.purpose is Purpose.ANSWER
        and obligation.mode is Mode.LAMBDA
        and obligation.lane is Lane.REALTIME
    ):
        if provisional is not None:  # from work that was taken out of the batch that owed the pass
            owes = None if obligation.others_open else BatchDebt.PASS
            return Consequence(WorkState.DONE, obligation.failures, owes=owes)
        # open work is the owed pass, or will owe the pass once it is answered
        settles = obligation.not_sampled and not obligation.others_open
        owes = None if obligation.others_open or settles else BatchDebt.PASS
        standing = Standing.PROVISIONAL
        return Consequence(
            WorkState.DONE, obligation.failures, standing=standing, owes=owes, settles=settles
        )
    shown = earlier if provisional is None else provisional
    correction = compare(shown, output, obligation.compare_fields) if shown is not None else None
    return Consequence(
        WorkState.DONE,
        obligation.failures,
        standing=Standing.AUTHORITATIVE,
        settles=True,
        correction=correction,
    )


def _decide_after_failure(
    obligation: Obligation, judgment: Judgment, provisional: dict[str, Any] | None, now: datetime
) -> Consequence:
    if obligation.item_canceled or not obligation.is_newest_revision:
        return Consequence(WorkState.CANCELED, obligation.failures)
    failures = obligation.failures + (judgment.spends and judgment.outcome not in FREE)
    aside = obligation.purpose is Purpose.REPLAY or obligation.purpose in MEASURING
    if obligation.item_settled and not aside:  # another answer came first
        return Consequence(WorkState.DONE, failures)
    # the provider, another item of the call or the version may be to blame: the item does not fail
    if not judgment.spends:
        rest = timedelta(0) if judgment.refused_call is None else BACKOFF.first
        return Consequence(WorkState.READY, failures, ready_at=now + rest, alone=judgment.alone)
    if judgment.outcome not in FINAL and failures < obligation.max_failures:
        alone = judgment.outcome is Outcome.PACK_REFUSED
        return Consequence(
            WorkState.READY, failures, ready_at=now + _rest(judgment.outcome, failures), alone=alone
        )
    failure = f"{judgment.outcome}: {judgment.error or 'no detail'} (after {pluralize(failures, 'failed attempt')})"
    if aside:
        return Consequence(WorkState.FAILED, failures, failure=failure)
    if obligation.others_open:  # the last open work to fail decides
        return Consequence(WorkState.FAILED, failures, failure=failure)
    if _falls_back(obligation, judgment.outcome):
        return Consequence(
            WorkState.FAILED,
            failures,
            owes=BatchDebt.PASS if obligation.item_answered else BatchDebt.ANSWER,
            failure=failure,
        )
    if provisional is not None:
        return Consequence(WorkState.FAILED, failures, settles=True, failure=failure)
    return Consequence(WorkState.FAILED, failures, fails=True, failure=failure)


def _falls_back(obligation: Obligation, last: Outcome) -> bool:
    """Return whether a batch answers after real time could not; work that must be real-time never falls back to a batch.

    A batch is not tried where it would fail in the same way. The provider refuses a poisoned input on both lanes. If the model
    refused, or its answers were unusable until the retry budget was spent, a batch retries only with another model, or in
    Lambda mode, which owes that pass anyway. Errors, timeouts, lost claims and given-up work reveal nothing about the input.
    """
    repeats = last in ANSWERED and obligation.mode is Mode.PLAIN and not obligation.other_model
    free = (
        obligation.purpose is Purpose.ANSWER
        and obligation.lane is Lane.REALTIME
        and obligation.may_wait
    )
    return free and not repeats and last not in HOPELESS


def _rest(outcome: Outcome, failures: int) -> timedelta:
    """Return the back-off of work; calls that the account or the provider refuses get the longest one."""
    if outcome is Outcome.UNSERVED:
        return BACKOFF.longest
    return timedelta(0) if outcome in ANSWERED else BACKOFF.rest_after(failures)


def is_announced_alone(announces: Announces, lane: Lane, *, acknowledged: bool) -> bool:
    """Return whether an answer of that lane gets its own event.

    The workload decides; an item whose sender requested an event always gets one.
    """
    if acknowledged:
        return True
    match announces:
        case Announces.EACH:
            return True
        case Announces.REALTIME:
            return lane is Lane.REALTIME
        case Announces.SUMMARY:
            return False
        case _:
            assert_never(announces)
