"""The judgment of one provider response for each item that shared it."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from lanes import json_data
from lanes.ids import VersionId
from lanes.json_data import why_unstorable
from lanes.packing import BufferStay, Claim
from lanes.words import Outcome
from lanes.workload.answer_check import AnswerCheck
from lanes.workload.prices import Usage


class Response(NamedTuple):
    """A billed response of the provider; `fault` is the reason why its answer cannot be read.

    `model` is None if the response names none; `tier`, `geo` and `speed` are None if they are as usual. `call` names the call,
    or the request of a batch, that the response answers, because the provider's own names may repeat.
    """

    message_id: str
    model: str | None
    text: str
    stop_reason: str | None
    usage: Usage
    request_id: str | None = None
    fault: str | None = None
    call: str = ""
    tier: str | None = None
    geo: str | None = None
    speed: str | None = None

    def __hash__(self) -> int:
        """Hash only the names: a response is hashed often, and its text and usage rarely distinguish it from another."""
        return hash((self.message_id, self.call))

    @property
    def digest(self) -> str:
        """Return a digest of the call, the answer and the usage, which distinguishes responses with the same name."""
        content = repr((self.call, self.model, self.text, self.usage))
        return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


class Judgment(NamedTuple):
    """The verdict on one item of a response, or of a call without a response.

    `spends` is false if the item is not to blame; `alone` is true if another item of its call may be. `refused_call` names the
    call that the provider refused for its content, if the version may be to blame.
    """

    outcome: Outcome
    output: dict[str, Any] | None = None
    error: str | None = None
    spends: bool = True
    alone: bool = False
    refused_call: str | None = None


@dataclass(frozen=True)
class PackShare:
    """An item's index, from 0, among the `of` items that shared a response."""

    index: int
    of: int


WHOLE = PackShare(0, 1)


class Attempt(NamedTuple):
    """One try at one item's work, ready to be saved; items of a pack share its `response`.

    `bound_usd` is the upper bound of the cost of an attempt without an answer. `share` is its part of the response, the whole
    until other items are known to share it: an attempt that is saved apart from its pack pays the same part. `gathered`
    describes its time in a buffer, and `version_id` is the version that was tried, if the claim named it.
    """

    claim: Claim
    judged: Judgment
    response: Response | None
    started_at: datetime
    ended_at: datetime
    latency_ms: int
    bound_usd: Decimal = Decimal(0)
    share: PackShare = WHOLE
    gathered: BufferStay | None = None
    version_id: VersionId | None = None

    @property
    def name(self) -> tuple[Claim, Response | None]:
        """Return the identity of the attempt: a claim has one attempt per response, and at most one without a response."""
        return self.claim, self.response


def drop_repeats(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Return the attempts without repeats, in order; each attempt with a response gets its share of it."""
    names = [attempt.response.message_id for attempt in attempts if attempt.response is not None]
    if len({attempt.claim for attempt in attempts}) == len(attempts) and len({*names}) == len(
        names
    ):
        return list(attempts)  # the usual case: nothing is repeated or shared
    known: dict[tuple[Claim, Response | None], Attempt] = {}
    for attempt in attempts:
        known.setdefault(attempt.name, attempt)
    sharers: Counter[Response] = Counter(
        attempt.response for attempt in known.values() if attempt.response is not None
    )
    next_index: Counter[Response] = Counter()
    once: list[Attempt] = []
    for attempt in known.values():
        response = attempt.response
        if response is not None and attempt.share == WHOLE and sharers[response] > 1:
            attempt = attempt._replace(share=PackShare(next_index[response], sharers[response]))
            next_index[response] += 1
        once.append(attempt)
    return once


@dataclass
class SaveResult:
    """The result of a save: new attempts by outcome, and how many of them were late and only recorded.

    `passed_over` attempts belong to items or work that another transaction has locked: their cost is in the ledger, and nothing
    else of them was written. Nothing was written of the attempts that the database `refused`. Calls of the `stopped` workloads
    are suspended, because the provider refuses their version. `apart` has the names of responses whose own name another
    response has. `archived` attempts belong to items that were archived before the save; only their cost was written.
    `recorded` has the claims of the new attempts.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    answered: int = 0
    corrected: int = 0
    late: int = 0
    recorded: list[Claim] = field(default_factory=list)
    passed_over: list[Attempt] = field(default_factory=list)
    refused: list[Attempt] = field(default_factory=list)
    stopped: frozenset[str] = frozenset()
    apart: frozenset[str] = frozenset()
    archived: int = 0

    def __add__(self, more: "SaveResult") -> "SaveResult":
        """Return the sum of two saves."""
        return SaveResult(
            self.outcomes + more.outcomes,
            self.answered + more.answered,
            self.corrected + more.corrected,
            self.late + more.late,
            self.recorded + more.recorded,
            self.passed_over + more.passed_over,
            self.refused + more.refused,
            self.stopped | more.stopped,
            self.apart | more.apart,
            self.archived + more.archived,
        )


def judge(response: Response, ids: Sequence[str], check: AnswerCheck) -> list[Judgment]:
    """Judge each item of a call, in the order of `ids`.

    With one id, the text is the answer. With several ids, it is `{"answers": [{"id", "answer"}]}`, and an id that is missing,
    duplicated or unknown spoils only itself. Any item of a pack may be to blame for a refusal or for an answer that cannot be
    divided: each item is retried alone, and none spends its retry budget. An answer is valid if it satisfies the output schema
    and can be stored.
    """
    alone = len(ids) == 1

    def unusable(outcome: Outcome, detail: str) -> list[Judgment]:
        return [Judgment(outcome, error=detail, spends=alone, alone=not alone)] * len(ids)

    if response.fault is not None:
        return unusable(Outcome.INVALID, response.fault)
    if response.stop_reason == "refusal":
        return unusable(Outcome.REFUSED, "the model declined to answer")
    if response.stop_reason == "max_tokens":
        return unusable(
            Outcome.TRUNCATED,
            f"the answer was cut at {response.usage.output} tokens; raise max_output_tokens",
        )
    try:
        content = json_data.loads(response.text)
    except (ValueError, RecursionError) as error:
        return unusable(Outcome.INVALID, f"the answer is not JSON: {error}")
    if not alone and not (isinstance(content, dict) and isinstance(content.get("answers"), list)):
        return unusable(Outcome.INVALID, 'the pack has no list "answers"')
    if alone:
        return [_check(content, check)]
    return _unpack(content["answers"], ids, check)


def _unpack(answers: Sequence[Any], ids: Sequence[str], check: AnswerCheck) -> list[Judgment]:
    answers_by_id: dict[str, list[Any]] = {}
    for each in answers:
        if isinstance(each, dict):
            answers_by_id.setdefault(str(each.get("id")), []).append(each.get("answer"))
    judgments: list[Judgment] = []
    for id_ in ids:
        match answers_by_id.get(id_, []):
            case [answer]:
                judgments.append(_check(answer, check))
            case []:
                judgments.append(
                    Judgment(Outcome.INVALID, error=f"the pack has no answer for id {id_}")
                )
            case several:
                judgments.append(
                    Judgment(
                        Outcome.INVALID, error=f"the pack has {len(several)} answers for id {id_}"
                    )
                )
    return judgments


def _check(answer: Any, check: AnswerCheck) -> Judgment:
    problem = why_unstorable(answer, "the answer")
    if problem is not None:
        return Judgment(Outcome.INVALID, error=problem)
    try:
        error = check.first_fault(answer)
    except Exception as failure:  # an error of the schema check spoils only this answer
        return Judgment(
            Outcome.INVALID,
            error=f"the answer cannot be checked against the schema: {type(failure).__name__}",
        )
    if error is None:
        return Judgment(Outcome.VALID, output=answer)
    message = f"the answer breaks the schema at {error.rule}" if error.keyword else error.message
    return Judgment(Outcome.INVALID, error=message)
