"""The question of a Messages request: validated parameters, reduced to the engine's needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anthropic_standin.catalogue import Model, known_model
from anthropic_standin.errors import invalid

REQUIRED = ("model", "max_tokens", "messages")
ALLOWED = frozenset(
    (
        *REQUIRED,
        "cache_control",
        "container",
        "diagnostics",
        "inference_geo",
        "metadata",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "system",
        "thinking",
        "tool_choice",
        "tools",
        "user_profile_id",
        "workspace_id",
        "stream",
    )
)


@dataclass(frozen=True, slots=True)
class PromptQuestion:
    """A validated request; `text` is the last user message, `schema` the answer's schema, if any."""

    model: Model
    max_tokens: int
    system: str
    text: str
    schema: dict[str, Any] | None
    tool: str | None
    stream: bool
    params: dict[str, Any]


def text_of(content: object) -> str:
    """Return the text of a message or system prompt: the string itself, or its text blocks joined by newlines."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(
        block["text"]
        for block in content
        if isinstance(block, dict) and block.get("type") == "text"
    )


def read_question(params: object) -> PromptQuestion:
    """Return the question in request parameters; ApiError 400 or 404 names an invalid field."""
    if not isinstance(params, dict):
        raise invalid("Input should be a valid dictionary")
    for name in REQUIRED:
        if name not in params:
            raise invalid(f"{name}: Field required")
    for name in params:
        if name not in ALLOWED:
            raise invalid(f"{name}: Extra inputs are not permitted")
    model = known_model(params["model"])
    max_tokens = params["max_tokens"]
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool) or max_tokens < 1:
        raise invalid("max_tokens: Input should be an integer greater than or equal to 1")
    if max_tokens > model.max_output_tokens:
        raise invalid(
            f"max_tokens: {max_tokens} > {model.max_output_tokens}, the most {model.id} can produce"
        )
    tool, schema = _wanted_shape(params)
    _check_blocks("system", params.get("system", ""))
    return PromptQuestion(
        model=model,
        max_tokens=max_tokens,
        system=text_of(params.get("system")),
        text=_last_user_text(params["messages"]),
        schema=schema,
        tool=tool,
        stream=bool(params.get("stream")),
        params=params,
    )


def _last_user_text(messages: object) -> str:
    if not isinstance(messages, list) or not messages:
        raise invalid("messages: at least one message is required")
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            raise invalid(f"messages.{place}.role: Input should be 'user' or 'assistant'")
        _check_blocks(f"messages.{place}.content", message.get("content"))
    for message in reversed(messages):
        if message["role"] == "user":
            return text_of(message["content"])
    raise invalid("messages: at least one message must have the role 'user'")


def _check_blocks(path: str, content: object) -> None:
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise invalid(f"{path}: Input should be a string or a list of content blocks")
    for place, block in enumerate(content):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise invalid(f"{path}.{place}.type: Field required")
        if block["type"] == "text" and not isinstance(block.get("text"), str):
            raise invalid(f"{path}.{place}.text: Field required")


def _wanted_shape(params: dict[str, Any]) -> tuple[str | None, dict[str, Any] | None]:
    """Return the forced tool and the schema of the answer; each may be None."""
    choice = params.get("tool_choice") or {}
    tools = params.get("tools") or []
    if choice.get("type") in ("tool", "any"):
        for tool in tools:
            if choice["type"] == "any" or tool.get("name") == choice.get("name"):
                return tool["name"], tool.get("input_schema") or {"type": "object"}
        raise invalid(f"tool_choice: Tool {choice.get('name')!r} not found in provided tools")
    wanted = (params.get("output_config") or {}).get("format")
    if not wanted:
        return None, None
    if wanted.get("type") != "json_schema" or not isinstance(wanted.get("schema"), dict):
        raise invalid(
            "output_config.format: Input should be {'type': 'json_schema', 'schema': {...}}"
        )
    _check_closed(wanted["schema"])
    return None, wanted["schema"]


def _check_closed(node: object) -> None:
    """Raise ApiError 400 if an object in the schema allows additional properties."""
    if isinstance(node, list):
        for part in node:
            _check_closed(part)
    elif isinstance(node, dict):
        if node.get("type") == "object" and node.get("additionalProperties") is not False:
            raise invalid(
                "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
            )
        for name, part in node.items():
            if name == "properties" and isinstance(part, dict):
                _check_closed(list(part.values()))
            elif name not in ("enum", "const", "default", "examples"):
                _check_closed(part)
