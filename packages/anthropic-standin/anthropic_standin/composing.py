"""Response messages made from answers: text or tool use, usage, and the faults that spoil them on request."""

from __future__ import annotations

import copy
from typing import Any, Literal

import orjson

from anthropic_standin.prompt_cache import PromptCache, PromptUsage
from anthropic_standin.question import PromptQuestion
from anthropic_standin.shapes import pack_property
from anthropic_standin.token_counts import tokens_in
from anthropic_standin.wire import new_id

Processing = Literal["realtime", "batch"]
SPOILING = frozenset({"invalid_output", "truncate", "refusal", "wrong_ids", "shift", "other_model"})


class Composer:
    """A writer of response messages that charges their prompts to one prompt cache."""

    def __init__(self, cache: PromptCache) -> None:
        self._cache = cache

    def begins(self) -> int:
        """Return the number of written prompts when a request begins; the request does not read later ones."""
        return self._cache.written

    def message(
        self,
        question: PromptQuestion,
        answer: Any,
        *,
        processing: Processing,
        now: float,
        began: int | None = None,
        reads: bool = True,
        spoil: str | None = None,
    ) -> dict[str, Any]:
        """Return the API's message at `now`, truncated at `max_tokens`.

        `began` is the value of `begins`; without `reads`, the message reads no cached prompt.
        """
        if spoil == "invalid_output":
            answer = {"unexpected": answer}
        elif spoil == "wrong_ids" and question.schema is not None:
            answer = with_wrong_ids(answer, pack_property(question.schema))
        elif spoil == "shift" and question.schema is not None:
            answer = shifted(answer, pack_property(question.schema))
        text = answer if isinstance(answer, str) else orjson.dumps(answer).decode()
        stop, details = "tool_use" if question.tool else "end_turn", None
        if spoil == "refusal":
            text, stop = "", "refusal"
            details = {
                "type": "refusal",
                "category": None,
                "explanation": "Refused by a fault rule.",
            }
        longest = len(text.encode()) // 2 if spoil == "truncate" else 4 * question.max_tokens
        if spoil == "truncate" or tokens_in(text) > question.max_tokens:
            text, stop = text.encode()[:longest].decode("utf-8", "ignore"), "max_tokens"
        return {
            "id": new_id("msg"),
            "type": "message",
            "role": "assistant",
            "model": question.model.id + ("-20991231" if spoil == "other_model" else ""),
            "content": _content(question.tool, text, answer, stop),
            "stop_reason": stop,
            "stop_sequence": None,
            "stop_details": details,
            "usage": self._usage(
                self._cache.charge(question.model, question.params, now, began=began, reads=reads),
                max(1, tokens_in(text)),
                processing,
            ),
        }

    def _usage(
        self, charge: PromptUsage, output_tokens: int, processing: Processing
    ) -> dict[str, Any]:
        return {
            "input_tokens": charge.input_tokens,
            "output_tokens": output_tokens,
            "cache_creation_input_tokens": charge.written_5m_tokens + charge.written_1h_tokens,
            "cache_read_input_tokens": charge.read_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": charge.written_5m_tokens,
                "ephemeral_1h_input_tokens": charge.written_1h_tokens,
            },
            "service_tier": "batch" if processing == "batch" else "standard",
        }


def with_wrong_ids(answer: Any, pack: str | None) -> Any:
    """Return a pack's answer with one id missing, one repeated and one unknown; return other answers unchanged."""
    if pack is None or not isinstance(answer, dict) or not answer.get(pack):
        return answer
    elements = copy.deepcopy(answer[pack])
    missing = elements.pop()
    elements.append(copy.deepcopy(elements[0]) if elements else copy.deepcopy(missing))
    elements.append({**missing, "id": f"unknown-{missing['id']}"})
    return {**answer, pack: elements}


def shifted(answer: Any, pack: str | None) -> Any:
    """Return a pack's answer in which each id has the next item's answer; return other answers unchanged."""
    if pack is None or not isinstance(answer, dict) or not answer.get(pack):
        return answer
    elements = answer[pack]
    nexts = [*elements[1:], elements[0]]
    return {
        **answer,
        pack: [{**after, "id": each["id"]} for each, after in zip(elements, nexts, strict=True)],
    }


def _content(tool: str | None, text: str, answer: Any, stop: str) -> list[dict[str, Any]]:
    if stop == "refusal":
        return []
    if tool is None:
        return [{"type": "text", "text": text, "citations": None}]
    shown = answer if isinstance(answer, dict) and stop == "tool_use" else {}
    return [{"type": "tool_use", "id": new_id("toolu"), "name": tool, "input": shown}]
