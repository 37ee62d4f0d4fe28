"""One pack on the real-time lane: asked, judged, and split when the provider refuses it as a whole."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from anthropic import AsyncAnthropic

from lanes.claims import Claim, Claimed
from lanes.cost import upper_bound
from lanes.outcome import Attempt, Judged, judge
from lanes.provider.client import ask
from lanes.provider.errors import FREEZES, Action, CallFailed
from lanes.provider.requests import Question, parameters
from lanes.words import Lane, Outcome
from lanes.workload import Version


@dataclass
class Answered:
    """What became of a pack: attempts to save, claims to give back untried, and the failures met on the way."""

    attempts: list[Attempt] = field(default_factory=list)
    given_back: list[Claim] = field(default_factory=list)
    failures: list[CallFailed] = field(default_factory=list)


def questions(
    pack: Sequence[Claimed], history: Mapping[int, tuple[dict[str, Any], ...]] | None = None
) -> list[Question]:
    """The items of a pack by their slots: ids "1", "2", ...; `history` holds earlier payloads by id of the work."""
    known = history or {}
    return [Question(str(slot), each.payload, known.get(each.claim.work_id, ())) for slot, each in enumerate(pack, 1)]


async def answer(client: AsyncAnthropic, version: Version, pack: Sequence[Claimed]) -> Answered:
    """Every item of the pack has an attempt or is given back; one bad item spoils no other.

    A pack that is too large or holds a poisonous item is halved until the item stands alone.
    """
    answered = Answered()
    waiting = [list(pack)]
    while waiting:
        part = waiting.pop()
        asked = questions(part)
        started, clock = datetime.now(UTC), time.perf_counter()
        try:
            response = await ask(client, parameters(version, Lane.REALTIME, asked))
        except CallFailed as failure:
            answered.failures.append(failure)
            if failure.action in (*FREEZES, Action.SLOW_DOWN):
                answered.given_back += [each.claim for left in (part, *waiting) for each in left]
                break
            if failure.action in (Action.SPLIT, Action.POISON) and len(part) > 1:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
                continue
            answered.attempts += [
                Attempt(
                    each.claim, _judged(failure), None, started, datetime.now(UTC), _ms(clock),
                    bound_usd=_bound(version, each, started) if failure.maybe_billed else Decimal(0),
                )
                for each in part
            ]  # fmt: skip
            continue
        judged = judge(response, [each.id for each in asked], version.validator)
        answered.attempts += [
            Attempt(each.claim, how, response, started, datetime.now(UTC), _ms(clock))
            for each, how in zip(part, judged, strict=True)
        ]
    return answered


def _judged(failure: CallFailed) -> Judged:
    if failure.action in (Action.POISON, Action.SPLIT):
        return Judged(Outcome.POISON, error=str(failure))
    return Judged(Outcome.UNKNOWN if failure.maybe_billed else Outcome.ERRORED, error=str(failure))


def _bound(version: Version, each: Claimed, at: datetime) -> Decimal:
    return upper_bound(version, len(str(each.payload)), lane=Lane.REALTIME, at=at)


def _ms(clock: float) -> int:
    return round((time.perf_counter() - clock) * 1000)
