"""Attempts: what a real-time call, or a request of a batch, means for each of its items."""

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
# refusals in the same words: of several calls they blame the version, of one item the item
LEAST_REFUSED = 3
# refused calls of a version that was answered before, because single items may be to blame
MOST_REFUSED = 20
LASTING = timedelta(minutes=10)  # how long they are refused without an answer of the version
LOST = Judgment(Outcome.MISSING, error="the batch ended without a result for it")


@dataclass(frozen=True)
class CallTimes:
    """The times at which a call, or a batch, began and ended, by the database's clock."""

    started_at: datetime
    ended_at: datetime

    @classmethod
    def before(cls, now: datetime, *, age_s: float, seconds: float) -> "CallTimes":
        """Return the times of a call that ended `age_s` ago and took `seconds`."""
        ended_at = now - timedelta(seconds=max(0.0, age_s))
        return cls(ended_at - timedelta(seconds=seconds), ended_at)

    @property
    def ms(self) -> int:
        """Return how long it took, in milliseconds."""
        return round((self.ended_at - self.started_at).total_seconds() * 1000)


def build_answered(
    version: Version,
    pack: Sequence[ClaimedWork],
    response: Response,
    times: CallTimes,
    *,
    ids: Sequence[str],
) -> list[Attempt]:
    """Return an attempt for each item of an answered call, in the order of the pack; `ids` are the items' names in the call."""
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
    """Return an attempt for each item of a failed call; it spends the retry budget only where the item is to blame."""
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
    """Return an attempt for each item of a call that cannot be evaluated: its cost is kept, and the items are tried again."""
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
    """Return attempts for an input that the provider never accepts; `perhaps_version` says that its version may be to blame."""
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
    """The history of a refusal: what a version met in these words on a lane.

    A call of the version was `answered`, or `answered_since` this work was first refused. This work was refused `times` times;
    since the version's last answer `calls` different ones were, the first of them `lasted` ago. `known` says that the version
    is known to be refused, or is no longer in force.
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


def judge_refusal(judged: Judgment, refusals: Refusals) -> Judgment:
    """Return the judgment of a refused call, given whether its version is to blame.

    A version is to blame when several different calls are refused in the same words and none is answered. Until that is known
    an item is asked again, alone, and spends nothing. An item is to blame when its version answers others, or after three
    refusals.
    """
    if refusals.of_version:
        return Judgment(
            Outcome.UNSERVED, error=judged.error, spends=False, refused_call=judged.refused_call
        )
    at_fault = refusals.answered_since or refusals.times >= LEAST_REFUSED
    if at_fault or judged.outcome is Outcome.PACK_REFUSED:
        return judged._replace(refused_call=None)
    return Judgment(
        Outcome.UNSERVED,
        error=judged.error,
        spends=False,
        alone=True,
        refused_call=judged.refused_call,
    )


def build_for_request(
    version: Version,
    claims: Sequence[Claim],
    said: Response | Judgment,
    times: CallTimes,
    *,
    ids: Sequence[str],
) -> list[Attempt]:
    """Return an attempt for each item of a batch's request, in the order of the claims.

    They share its response, or are all alike where there was none. `ids` are the items' names in the request.
    """
    if isinstance(said, Judgment):
        return [_attempt(claim, said, times) for claim in claims]
    judged = _judge(version, said, ids)
    return [_attempt(claim, how, times, said) for claim, how in zip(claims, judged, strict=True)]


def build_missing(claims: Sequence[Claim], *, started_at: datetime, now: datetime) -> list[Attempt]:
    """Return an attempt for each item without a result, however often its batch's results were read."""
    return [Attempt(claim, LOST, None, started_at, now, 0) for claim in claims]


def build_given_up(
    claim: Claim, why: str, *, started_at: datetime, now: datetime, bound_usd: Decimal = Decimal(0)
) -> Attempt:
    """Return the last attempt of work that is given up; `bound_usd` bounds the cost of a call without an answer."""
    return Attempt(
        claim, Judgment(Outcome.GIVEN_UP, error=why), None, started_at, now, 0, bound_usd=bound_usd
    )


def build_unread(
    claim: Claim, judged: Judgment, *, started_at: datetime, now: datetime, bound_usd: Decimal
) -> Attempt:
    """Return the attempt of a request whose answer may be paid and cannot be read."""
    return Attempt(claim, judged, None, started_at, now, 0, bound_usd=bound_usd)


def drop_answer(attempt: Attempt, why: str) -> Attempt:
    """Return the attempt without its answer, which cannot be stored; its cost stays."""
    judged = Judgment(
        Outcome.INVALID if attempt.response else attempt.judged.outcome,
        error=f"it cannot be stored: {why}",
    )
    return attempt._replace(judged=judged)


def _judge(version: Version, response: Response, ids: Sequence[str]) -> list[Judgment]:
    try:
        return judge(response, ids, version.answer_check)
    except Exception as error:  # unforeseen; the answer was paid for all the same
        return [
            Judgment(Outcome.INVALID, error=f"the answer cannot be judged: {type(error).__name__}")
        ] * len(ids)


def _attempt(
    of: Claim | ClaimedWork, judged: Judgment, times: CallTimes, response: Response | None = None
) -> Attempt:
    if isinstance(of, Claim):
        return Attempt(of, judged, response, times.started_at, times.ended_at, times.ms)
    return Attempt(
        of.claim,
        judged,
        response,
        times.started_at,
        times.ended_at,
        times.ms,
        gathered=of.gathered,
        version_id=of.version_id,
    )


def _bounds(version: Version, pack: Sequence[ClaimedWork], times: CallTimes) -> list[Decimal]:
    """Divide the most that their call can have cost among the items."""
    size = sum(call_bytes(each.payload) for each in pack)
    bound = pack_bound(version, size, items=len(pack), lane=Lane.REALTIME, at=times.started_at)
    return allocate_usd(bound, [1] * len(pack))
