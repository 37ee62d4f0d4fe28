"""One pack on the real-time lane: asked as a whole, and split when the provider refuses it as a whole."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anthropic import AsyncAnthropic

from lanes.calltime import longest_call_s
from lanes.claims import Claimed
from lanes.outcome import Response
from lanes.provider.client import ask
from lanes.provider.errors import Action, CallFailed
from lanes.provider.requests import Question, max_tokens, parameters
from lanes.words import Lane
from lanes.workload import Version

REFUSED = (Action.SPLIT, Action.POISON)  # the request itself: fewer items may be taken


@dataclass(frozen=True)
class Called:
    """One call that ended: with a response or with a failure, never both. `untried` are items that it gave up on.

    `ended` is a moment of `time.monotonic`, because the host's clock is nobody's.
    """

    pack: Sequence[Claimed]
    seconds: float
    ended: float
    response: Response | None = None
    failure: CallFailed | None = None
    untried: Sequence[Claimed] = ()


def questions(
    pack: Sequence[Claimed], history: Mapping[int, tuple[dict[str, Any], ...]] | None = None
) -> list[Question]:
    """The items of a pack by their slots: ids "1", "2", ...; `history` holds earlier payloads by id of the work."""
    known = history or {}
    return [Question(str(slot), each.payload, known.get(each.claim.work_id, ())) for slot, each in enumerate(pack, 1)]


async def answer(
    client: AsyncAnthropic, version: Version, pack: Sequence[Claimed], *, due_in_s: float | None = None
) -> AsyncIterator[Called]:
    """Each call that the pack needed, as it ends; every item is in exactly one of them, whatever happens.

    A pack that is too large or holds a poisonous item is halved until the item stands alone. Any other failure ends it:
    what was not asked yet is untried.
    """
    waiting = [list(pack)]
    while waiting:
        part = waiting.pop()
        began = time.monotonic()
        try:
            longest_s = longest_call_s(max_tokens(version, len(part)), due_in_s=due_in_s)
            response = await ask(client, _body(version, part), longest_s=longest_s)
        except CallFailed as failure:
            refused = failure.action in REFUSED
            if refused and len(part) > 1:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
                continue
            untried = [] if refused else [each for later in waiting for each in later]
            ended = time.monotonic()
            yield Called(part, ended - began, ended, failure=failure, untried=untried)
            if not refused:
                return
        else:
            ended = time.monotonic()
            yield Called(part, ended - began, ended, response=response)


def _body(version: Version, part: Sequence[Claimed]) -> dict[str, Any]:
    """The request. An input that cannot be written into one is refused like one that the provider refuses."""
    try:
        return parameters(version, Lane.REALTIME, questions(part))
    except Exception as error:
        raise CallFailed(Action.POISON, f"the request cannot be written: {error}", maybe_billed=False) from error
