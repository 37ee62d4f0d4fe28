"""Token counts: rough, deterministic and additive. A block costs one token per four bytes of UTF-8, rounded up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

MESSAGE_OVERHEAD = 4


def tokens_in(text: str) -> int:
    """Return the tokens of a text; 0 for an empty one."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return (size + 3) // 4


def tokens_in_json(value: object) -> int:
    """Return the tokens of a JSON value in compact form."""
    return (len(orjson.dumps(value)) + 3) // 4


def prompt_blocks(params: dict[str, Any]) -> Iterator[tuple[int, Any, dict[str, Any] | None]]:
    """Yield each block of a prompt in cache order (tools, system, messages): its tokens, its content, and its cache_control."""
    output_format = (params.get("output_config") or {}).get("format")
    if output_format:
        yield tokens_in_json(output_format), output_format, None
    for tool in params.get("tools") or ():
        yield tokens_in_json(tool), tool, tool.get("cache_control")
    yield from _content_blocks(params.get("system") or ())
    for message in params["messages"]:
        yield MESSAGE_OVERHEAD, message["role"], None
        yield from _content_blocks(message["content"])


def count_prompt(params: dict[str, Any]) -> int:
    """Return the input tokens of a request."""
    return sum(tokens for tokens, _, _ in prompt_blocks(params))


def _content_blocks(content: Any) -> Iterator[tuple[int, Any, dict[str, Any] | None]]:
    if isinstance(content, str):
        yield tokens_in(content), content, None
        return
    for block in content:
        if block["type"] == "text":
            yield tokens_in(block["text"]), block["text"], block.get("cache_control")
        else:
            yield tokens_in_json(block), block, block.get("cache_control")
