"""A message as the server-sent events of a streaming answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

DELTA_CHARACTERS = 40


def events_of(message: dict[str, Any]) -> Iterator[bytes]:
    """Yield the events in order, text and tool input in pieces of 40 characters."""
    usage = {**message["usage"], "output_tokens": 1}
    opening = {**message, "content": [], "stop_reason": None, "stop_details": None, "usage": usage}
    yield _event("message_start", message=opening)
    for index, block in enumerate(message["content"]):
        is_text = block["type"] == "text"
        empty = {**block, "text": ""} if is_text else {**block, "input": {}}
        yield _event("content_block_start", index=index, content_block=empty)
        whole = block["text"] if is_text else orjson.dumps(block["input"]).decode()
        for start in range(0, len(whole), DELTA_CHARACTERS):
            piece = whole[start : start + DELTA_CHARACTERS]
            delta = {"type": "text_delta", "text": piece} if is_text else _json_delta(piece)
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    ending = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield _event("message_delta", delta=ending, usage=message["usage"])
    yield _event("message_stop")


def _json_delta(piece: str) -> dict[str, str]:
    return {"type": "input_json_delta", "partial_json": piece}


def _event(kind: str, **fields: Any) -> bytes:
    return (
        b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"
    )
