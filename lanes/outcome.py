"""What one provider response means for the items that shared it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from jsonschema import Draft202012Validator

from lanes.claims import Claim
from lanes.prices import Usage
from lanes.storable import unstorable
from lanes.words import Outcome


@dataclass(frozen=True)
class Response:
    """One billed response of the provider."""

    message_id: str
    model: str
    text: str
    stop_reason: str | None
    usage: Usage
    request_id: str | None = None


@dataclass(frozen=True)
class Judged:
    """How one item fared in one response, or without any."""

    outcome: Outcome
    output: dict[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True)
class Attempt:
    """One try at one item's work, ready to be saved. `response` is shared by the items of a pack.

    `bound_usd` is the most that an attempt without an answer can have cost.
    """

    claim: Claim
    judged: Judged
    response: Response | None
    started_at: datetime
    ended_at: datetime
    latency_ms: int
    bound_usd: Decimal = Decimal(0)


def judge(response: Response, ids: Sequence[str], validator: Draft202012Validator) -> list[Judged]:
    """How each item of a call fared, in the order of `ids`.

    One id: the text is the answer. Several: the text is `{"answers": [{"id", "answer"}]}`, and an id that is
    missing, doubled or unknown spoils only itself. An answer counts when it satisfies the output schema and can be
    stored.
    """
    if response.stop_reason == "refusal":
        return [Judged(Outcome.REFUSED, error="the model declined to answer")] * len(ids)
    if response.stop_reason == "max_tokens":
        detail = f"the answer was cut at {response.usage.output} tokens; raise max_output_tokens"
        return [Judged(Outcome.TRUNCATED, error=detail)] * len(ids)
    try:
        said = json.loads(response.text)
    except (ValueError, RecursionError) as error:
        return [Judged(Outcome.INVALID, error=f"the answer is not JSON: {error}")] * len(ids)
    if len(ids) == 1:
        return [_checked(said, validator)]
    return _unpacked(said, ids, validator)


def _unpacked(said: Any, ids: Sequence[str], validator: Draft202012Validator) -> list[Judged]:
    answers = said.get("answers") if isinstance(said, dict) else None
    if not isinstance(answers, list):
        return [Judged(Outcome.INVALID, error='the pack has no list "answers"')] * len(ids)
    found: dict[str, list[Any]] = {}
    for each in answers:
        if isinstance(each, dict):
            found.setdefault(str(each.get("id")), []).append(each.get("answer"))
    judged: list[Judged] = []
    for id_ in ids:
        match found.get(id_, []):
            case [answer]:
                judged.append(_checked(answer, validator))
            case []:
                judged.append(Judged(Outcome.INVALID, error=f"the pack has no answer for id {id_}"))
            case several:
                judged.append(Judged(Outcome.INVALID, error=f"the pack has {len(several)} answers for id {id_}"))
    return judged


def _checked(answer: Any, validator: Draft202012Validator) -> Judged:
    problem = unstorable(answer, "the answer")
    if problem is not None:
        return Judged(Outcome.INVALID, error=problem)
    try:
        error = next(iter(validator.iter_errors(answer)), None)
    except (RecursionError, ArithmeticError) as failure:
        return Judged(Outcome.INVALID, error=f"the answer cannot be checked against the schema: {failure}")
    if error is None:
        return Judged(Outcome.VALID, output=answer)
    where = "/".join(map(str, error.absolute_path)) or "the root"
    return Judged(Outcome.INVALID, error=f"the answer breaks the schema at {where}: {error.message[:300]}")
