"""One pack on the real-time lane: asked as a whole, and split when the provider refuses it as a whole."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lanes.ids import WorkId
from lanes.money.cost import most_answer_tokens
from lanes.packing import ClaimedWork, new_nonce, pack_ids
from lanes.provider.client import Hear, ask
from lanes.provider.errors import Action, CallFailed
from lanes.provider.requests import Question, Writer
from lanes.realtime.calltime import longest_call_s
from lanes.settling.outcome import Response

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

Begin = Callable[
    [Sequence[ClaimedWork]], Awaitable[Sequence[ClaimedWork]]
]  # for which of these items a call may begin
REFUSED = (Action.SPLIT, Action.POISON)  # the request itself: fewer items may be taken


@dataclass(frozen=True)
class Called:
    """One call that ended: with a response or with a failure, never both. `untried` are items that it gave up on.

    `ids` are what the call named its items, in their order. `ended` is a moment of `time.monotonic`, because the host's
    clock is nobody's.
    """

    pack: Sequence[ClaimedWork]
    seconds: float
    ended: float
    response: Response | None = None
    failure: CallFailed | None = None
    untried: Sequence[ClaimedWork] = ()
    ids: Sequence[str] = ()


def questions(
    pack: Sequence[ClaimedWork],
    ids: Sequence[str],
    history: Mapping[WorkId, tuple[dict[str, Any], ...]] | None = None,
) -> list[Question]:
    """The items of a pack by their ids; `history` holds earlier payloads by id of the work."""
    known = history or {}
    return [
        Question(id_, each.payload, known.get(each.claim.work_id, ()))
        for id_, each in zip(ids, pack, strict=True)
    ]


async def answer(
    client: "AsyncAnthropic",
    writer: Writer,
    pack: Sequence[ClaimedWork],
    *,
    patience: int = 1,
    hear: Hear | None = None,
    marked: bool = False,
    begin: Begin | None = None,
) -> AsyncIterator[Called]:
    """Each call that the pack needed, as it ends; every item is in exactly one of them, whatever happens. `hear` is told the
    headers of every answer; `marked`: the provider is to cache what calls share; `patience`: how many times as long as
    usual a call may take.

    A pack that is too large or holds a poisonous item is halved until the item stands alone; a part is asked without the items
    that `begin` keeps back, which are in no call. Any other failure ends it: what was not asked yet is untried.
    """
    spec, waiting, whole = writer.version.spec, [pack], True
    while waiting:
        part = waiting.pop()
        if not whole and begin is not None:
            part = await begin(part)
        whole = False
        if not part:
            continue
        nonce = new_nonce()
        ids = pack_ids(nonce, 0, len(part))
        began = time.monotonic()
        try:
            longest_s = longest_call_s(most_answer_tokens(spec, len(part)), patience=patience)
            response = await ask(
                client, _body(writer, part, ids, marked), longest_s=longest_s, hear=hear
            )
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
            yield Called(
                part, ended - began, ended, response=replace(response, call=nonce), ids=ids
            )


def _body(writer: Writer, part: Sequence[ClaimedWork], ids: Sequence[str], marked: bool) -> bytes:
    """The request. An input that cannot be written into one is refused like one that the provider refuses."""
    try:
        return writer.write(questions(part, ids), marked=marked)
    except Exception as error:
        detail = (
            f"the request cannot be written: {type(error).__name__}"  # its text may quote the input
        )
        raise CallFailed(Action.POISON, detail, maybe_billed=False) from error
