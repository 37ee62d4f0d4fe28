"""What a try means for each of its items: one real-time call, or one request of a batch."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from lanes.json_data import call_bytes
from lanes.money.cost import allocate_usd, pack_bound
from lanes.packing import Claim, ClaimedWork
from lanes.realtime.health import Blame
from lanes.settling.outcome import Attempt, Judgment, Response, judge
from lanes.words import Lane, Outcome
from lanes.workload.version import Version

UNANSWERABLE = "it could not be answered for"  # how the error begins of what is given up by itself
LOST_LEASE = (
    "claim timeout"  # how the error begins of an attempt whose claim was not renewed in time
)
LEAST_REFUSED = 3  # refusals in the same words: of different calls, they are the version's; of one item, its own
MOST_REFUSED = 20  # different calls of a version that was answered before: some of its items alone may be at fault
LASTING = timedelta(minutes=10)  # for which they are refused, and none of the version is answered
LOST = Judgment(Outcome.MISSING, error="the batch ended without a result for it")


@dataclass(frozen=True)
class CallTimes:
    """When a call, or a batch, began and ended, by the database's clock."""

    started_at: datetime
    ended_at: datetime

    @classmethod
    def before(cls, now: datetime, *, age_s: float, seconds: float) -> "CallTimes":
        """Of a call that ended `age_s` ago and took so many seconds."""
        ended_at = now - timedelta(seconds=max(0.0, age_s))
        return cls(ended_at - timedelta(seconds=seconds), ended_at)

    @property
    def ms(self) -> int:
        """How long it took."""
        return round((self.ended_at - self.started_at).total_seconds() * 1000)


def answered(
    version: Version,
    pack: Sequence[ClaimedWork],
    response: Response,
    times: CallTimes,
    *,
    ids: Sequence[str],
) -> list[Attempt]:
    """Every item of an answered call has its attempt, in the order of the pack; `ids` are what the call named them."""
    judged = _judged(version, response, ids)
    return [_attempt(each, how, times, response) for each, how in zip(pack, judged, strict=True)]


def unanswered(
    version: Version,
    pack: Sequence[ClaimedWork],
    error: str,
    times: CallTimes,
    *,
    blame: Blame,
    maybe_billed: bool,
) -> list[Attempt]:
    """Every item of a call that faulted has its attempt; it spends the retry budget only where it is the item's fault."""
    unbilled = Outcome.UNSERVED if blame is Blame.PROVIDER else Outcome.ERRORED
    outcome = Outcome.UNKNOWN if maybe_billed else unbilled
    judged = Judgment(outcome, error=error, spends=blame is Blame.ITEM, alone=blame is Blame.PACK)
    bounds = _bounds(version, pack, times) if maybe_billed else [Decimal(0)] * len(pack)
    return [
        replace(_attempt(each, judged, times), bound_usd=bound)
        for each, bound in zip(pack, bounds, strict=True)
    ]


def unweighed(
    version: Version,
    pack: Sequence[ClaimedWork],
    response: Response | None,
    times: CallTimes,
    *,
    why: Exception,
) -> list[Attempt]:
    """Return an attempt for each item of a call that cannot be weighed: what it cost is kept, and the items are tried again."""
    outcome = Outcome.UNKNOWN if response is None else Outcome.INVALID
    judged = Judgment(outcome, error=f"its call cannot be weighed: {type(why).__name__}")
    bounds = [Decimal(0)] * len(pack)
    if response is None:
        with suppress(Exception):  # perhaps it was this that could not be done
            bounds = _bounds(version, pack, times)
    made = [_attempt(each, judged, times, response) for each in pack]
    return [replace(each, bound_usd=bound) for each, bound in zip(made, bounds, strict=True)]


def poisoned(
    pack: Sequence[ClaimedWork], error: str, times: CallTimes, *, perhaps_version: bool = False
) -> list[Attempt]:
    """Return the attempts of an input that the provider will never accept; `perhaps_version`: or their version is at fault."""
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
    """What is known of a refusal, met in these words by a version on a lane.

    `answered`: a call of the version has been answered; `answered_since`: one that began after this one was first refused.
    `times`: how often this one was refused; `calls`: how many different ones were since the version was answered last, and
    `lasted`: how long ago the first of them was. `known`: the version is known to be refused, or is no longer in force.
    """

    answered: bool
    answered_since: bool
    times: int
    calls: int
    lasted: timedelta
    known: bool

    @property
    def of_version(self) -> bool:
        """Whether the version is at fault."""
        if self.answered_since or self.known:
            return not self.answered_since
        if self.answered:
            return self.calls >= MOST_REFUSED and self.lasted >= LASTING
        return self.calls >= LEAST_REFUSED


def weighed(judged: Judgment, refusals: Refusals) -> Judgment:
    """Return how a refused call fared, once it is weighed whether its version is at fault.

    It is where several different calls are refused in the same words, and none is answered. Until that is known an item is
    asked again, alone, and spends nothing; it is at fault where its version answers others, or if it is refused three times.
    """
    if refusals.of_version:
        return Judgment(
            Outcome.UNSERVED, error=judged.error, spends=False, refused_call=judged.refused_call
        )
    at_fault = refusals.answered_since or refusals.times >= LEAST_REFUSED
    if at_fault or judged.outcome is Outcome.PACK_REFUSED:
        return replace(judged, refused_call=None)
    return Judgment(
        Outcome.UNSERVED,
        error=judged.error,
        spends=False,
        alone=True,
        refused_call=judged.refused_call,
    )


def of_request(
    version: Version,
    claims: Sequence[Claim],
    said: Response | Judgment,
    times: CallTimes,
    *,
    ids: Sequence[str],
) -> list[Attempt]:
    """Every item of a batch's request has its attempt, in the order of the claims: by the response that they share, or all
    alike where there was none. `ids` are what the request named them."""
    if isinstance(said, Judgment):
        return [_attempt(claim, said, times) for claim in claims]
    judged = _judged(version, said, ids)
    return [_attempt(claim, how, times, said) for claim, how in zip(claims, judged, strict=True)]


def missing(claims: Sequence[Claim], *, started_at: datetime, now: datetime) -> list[Attempt]:
    """Every item has its attempt for which the results of its batch held nothing, however often they were read."""
    return [Attempt(claim, LOST, None, started_at, now, 0) for claim in claims]


def given_up(
    claim: Claim, why: str, *, started_at: datetime, now: datetime, bound_usd: Decimal = Decimal(0)
) -> Attempt:
    """Nobody tries it any more; `bound_usd` is what a try of which nothing was heard may have cost at most."""
    return Attempt(
        claim, Judgment(Outcome.GIVEN_UP, error=why), None, started_at, now, 0, bound_usd=bound_usd
    )


def unread(
    claim: Claim, judged: Judgment, *, started_at: datetime, now: datetime, bound_usd: Decimal
) -> Attempt:
    """Return the attempt of a request whose answer may be paid and cannot be read."""
    return Attempt(claim, judged, None, started_at, now, 0, bound_usd=bound_usd)


def unsavable(attempt: Attempt, why: str) -> Attempt:
    """The attempt without its answer, which cannot be stored; what it cost stays."""
    judged = Judgment(
        Outcome.INVALID if attempt.response else attempt.judged.outcome,
        error=f"it cannot be stored: {why}",
    )
    return replace(attempt, judged=judged)


def _judged(version: Version, response: Response, ids: Sequence[str]) -> list[Judgment]:
    try:
        return judge(response, ids, version.answer_check)
    except Exception as error:  # nobody foresaw it; the answer was paid for all the same
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
