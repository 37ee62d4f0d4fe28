"""Attempts: the result of a real-time call, or of a batch request, for each of its items."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from lanes.json_data import call_bytes
from lanes.money.cost import allocate_usd, pack_bound
from lanes.packing import Claim, ClaimedWork
from lanes.realtime.health import Blame
from lanes.settling.outcome import Attempt, Judgment, Response, judge
from lanes.words import Lane, Outcome
from lanes.workload.version import Version

# starts the error of work that was given up automatically
UNANSWERABLE = "it could not be answered for"
LOST_LEASE = "claim timeout"  # starts the error of an attempt whose claim was not renewed in time
# refusals with the same error text: of several calls they blame the version, of one item the item
LEAST_REFUSED = 3
# refused calls of a version that was answered before; higher, because single items may be to blame
MOST_REFUSED = 20
# how long the calls must have been refused without an answer to the version
LASTING = timedelta(minutes=10)
LOST = Judgment(Outcome.MISSING, error="the batch ended without a result for it")


@dataclass(frozen=True)
class CallTimes:
    """The times at which a call or a batch began and ended, by the database's clock."""

    started_at: datetime
    ended_at: datetime

    @classmethod
    def ended_before(cls, now: datetime, *, age_s: float, seconds: float) -> "CallTimes":
        """Return the times of a call that ended `age_s` ago and took `seconds`."""
        ended_at = now - timedelta(seconds=max(0.0, age_s))
        return cls(ended_at - timedelta(seconds=seconds), ended_at)

    @property
    def ms(self) -> int:
        """Return the duration of the call in milliseconds."""
        return round((self.ended_at - self.started_at).total_seconds() * 1000)


def build_answered(
    version: Version,
    pack: Sequence[ClaimedWork],
    response: Response,
    times: CallTimes,
    *,
    ids: Sequence[str],
) -> list[Attempt]:
    """Return an attempt for each item of an answered call, in the order of the pack; `ids` has the items' names in the call."""
    judged = _judge(version, response, ids)
    return [_attempt(each, how, times, response) for each, how in zip(pack, judged, strict=True)]


def build_unanswered(
    version: Version,
    pack: Sequence[ClaimedWork],
    error: str,
    times: CallTimes,
    *,
    blame: Blame,
    maybe_billed: bool,
) -> list[Attempt]:
    """Return an attempt for each item of a failed call; it spends the retry budget only if the item is to blame."""
    unbilled = Outcome.UNSERVED if blame is Blame.PROVIDER else Outcome.ERRORED
    outcome = Outcome.UNKNOWN if maybe_billed else unbilled
    judged = Judgment(outcome, error=error, spends=blame is Blame.ITEM, alone=blame is Blame.PACK)
    bounds = _bounds(version, pack, times) if maybe_billed else [Decimal(0)] * len(pack)
    return [
        _attempt(each, judged, times)._replace(bound_usd=bound)
        for each, bound in zip(pack, bounds, strict=True)
    ]


def build_unweighed(
    version: Version,
    pack: Sequence[ClaimedWork],
    response: Response | None,
    times: CallTimes,
    *,
    why: Exception,
) -> list[Attempt]:
    """Return an attempt for each item of a call that cannot be evaluated: its cost is recorded, and the items are retried."""
    outcome = Outcome.UNKNOWN if response is None else Outcome.INVALID
    judged = Judgment(outcome, error=f"its call cannot be weighed: {type(why).__name__}")
    bounds = [Decimal(0)] * len(pack)
    if response is None:
        with suppress(Exception):  # the bound itself may be what failed
            bounds = _bounds(version, pack, times)
    made = [_attempt(each, judged, times, response) for each in pack]
    return [each._replace(bound_usd=bound) for each, bound in zip(made, bounds, strict=True)]


def build_poisoned(
    pack: Sequence[ClaimedWork], error: str, times: CallTimes, *, perhaps_version: bool = False
) -> list[Attempt]:
    """Return attempts for an input that the provider never accepts; with `perhaps_version`, its version may be to blame."""
    return [
        _attempt(
            each,
            Judgment(
                Outcome.POISON,
                error=error,
                refused_call=str(each.claim.work_id) if perhaps_version else None,
            ),
            times,
        )
        for each in pack
    ]


@dataclass(frozen=True)
class Refusals:
    """The history of a refusal: a version's calls on a lane that were refused with the same error text.

    `answered` is true if a call of the version was ever answered, `answered_since` if one was answered after this work was
    first refused. This work was refused `times` times. Since the version's last answer `calls` different calls were refused,
    the first of them `lasted` ago. `known` is true if the version is known to be refused, or is no longer in force.
    """

    answered: bool
    answered_since: bool
    times: int
    calls: int
    lasted: timedelta
    known: bool

    @property
    def of_version(self) -> bool:
        """Return whether the version is to blame."""
        if self.answered_since or self.known:
            return not self.answered_since
        if self.answered:
            return self.calls >= MOST_REFUSED and self.lasted >= LASTING
        return self.calls >= LEAST_REFUSED


def judge_refusal(judgment: Judgment, refusals: Refusals) -> Judgment:
    """Return the judgment of a refused call, given whether its version is to blame.

    A version is to blame when several different calls are refused with the same error text and none is answered. Until the
    cause is known, an item is retried in a call of its own and spends no retry budget. An item is to blame when its version
    answers other items, or after three refusals.
    """
    if refusals.of_version:
        return Judgment(
            Outcome.UNSERVED, error=judgment.error, spends=False, refused_call=judgment.refused_call
        )
    at_fault = refusals.answered_since or refusals.times >= LEAST_REFUSED
    if at_fault or judgment.outcome is Outcome.PACK_REFUSED:
        return judgment._replace(refused_call=None)
    return Judgment(
        Outcome.UNSERVED,
        error=judgment.error,
        spends=False,
        alone=True,
        refused_call=judgment.refused_call,
    )


def build_for_request(
    version: Version,
    claims: Sequence[Claim],
    reply: Response | Judgment,
    times: CallTimes,
    *,
    ids: Sequence[str],
) -> list[Attempt]:
    """Return an attempt for each item of a batch's request, in the order of the claims.

    The items share its response; without a response, all attempts are alike. `ids` has the items' names in the request.
    """
    if isinstance(reply, Judgment):
        return [_attempt(claim, reply, times) for claim in claims]
    judgments = _judge(version, reply, ids)
    return [
        _attempt(claim, judgment, times, reply)
        for claim, judgment in zip(claims, judgments, strict=True)
    ]


def build_missing(claims: Sequence[Claim], *, started_at: datetime, now: datetime) -> list[Attempt]:
    """Return an attempt for each item without a result; repeated reads of the batch's results yield equal attempts."""
    return [Attempt(claim, LOST, None, started_at, now, 0) for claim in claims]


def build_given_up(
    claim: Claim, why: str, *, started_at: datetime, now: datetime, bound_usd: Decimal = Decimal(0)
) -> Attempt:
    """Return the last attempt of work that is given up; `bound_usd` is the maximum cost of a call without an answer."""
    return Attempt(
        claim, Judgment(Outcome.GIVEN_UP, error=why), None, started_at, now, 0, bound_usd=bound_usd
    )


def build_unread(
    claim: Claim, judged: Judgment, *, started_at: datetime, now: datetime, bound_usd: Decimal
) -> Attempt:
    """Return the attempt of a request whose answer may be billed but cannot be read."""
    return Attempt(claim, judged, None, started_at, now, 0, bound_usd=bound_usd)


def drop_answer(attempt: Attempt, why: str) -> Attempt:
    """Return the attempt without its answer, which cannot be stored; the attempt keeps its cost."""
    judged = Judgment(
        Outcome.INVALID if attempt.response else attempt.judged.outcome,
        error=f"it cannot be stored: {why}",
    )
    return attempt._replace(judged=judged)


def _judge(version: Version, response: Response, ids: Sequence[str]) -> list[Judgment]:
    try:
        return judge(response, ids, version.answer_check)
    except Exception as error:  # unforeseen, but the answer was billed
        return [
            Judgment(Outcome.INVALID, error=f"the answer cannot be judged: {type(error).__name__}")
        ] * len(ids)


def _attempt(
    work: Claim | ClaimedWork,
    judgment: Judgment,
    times: CallTimes,
    response: Response | None = None,
) -> Attempt:
    if isinstance(work, Claim):
        return Attempt(work, judgment, response, times.started_at, times.ended_at, times.ms)
    return Attempt(
        work.claim,
        judgment,
        response,
        times.started_at,
        times.ended_at,
        times.ms,
        gathered=work.gathered,
        version_id=work.version_id,
    )


def _bounds(version: Version, pack: Sequence[ClaimedWork], times: CallTimes) -> list[Decimal]:
    """Divide the upper bound of their call's cost among the items."""
    size = sum(call_bytes(each.payload) for each in pack)
    bound = pack_bound(version, size, items=len(pack), lane=Lane.REALTIME, at=times.started_at)
    return allocate_usd(bound, [1] * len(pack))
