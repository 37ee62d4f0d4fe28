"""Tests that compare the stand-in's own bill with the usage that the SDK received."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import pytest
from genai_prices import extract_usage

from anthropic_standin.testing import asking, batch_of, running_endpoint, until


def price(message: anthropic.types.Message, **context: str) -> Decimal:
    usage = extract_usage(message.model_dump(), provider_id="anthropic")
    now, prices = datetime.now(UTC), context or None
    return usage.calc_price(genai_request_timestamp=now, price_context=prices).total_price  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_bill_equals_what_the_sdk_saw_to_the_last_digit(tmp_path: Path) -> None:
    with running_endpoint(tmp_path, "--engine", "echo", "--turnaround-s", "0") as endpoint:
        client = endpoint.client()
        system: Any = [
            {
                "type": "text",
                "text": "Rule. " * 4_000,
                "cache_control": {"type": "ephemeral", "ttl": "1h"},
            }
        ]
        now = [
            client.messages.create(**asking(f"Now {i}", system=system, model=model))
            for i in range(3)
            for model in ("claude-haiku-5-5", "claude-opus-5-5")
        ]
        batch = client.messages.batches.create(
            requests=batch_of([f"Later {i}" for i in range(50)], system=system)
        )
        endpoint.ended(batch.id)
        lines = list(client.messages.batches.results(batch.id))
        later = [line.result.message for line in lines if line.result.type == "succeeded"]
        bill = endpoint.bill()
        listed = endpoint.control("GET", "bill/messages?limit=40")
        rest = endpoint.control("GET", f"bill/messages?limit=40&after={listed['next']}")

    seen = now + later
    assert bill["responses"] == len(seen) == 56
    assert bill["input_tokens"] == sum(message.usage.input_tokens for message in seen)
    assert bill["output_tokens"] == sum(message.usage.output_tokens for message in seen)
    assert (
        bill["cache_read_tokens"]
        == sum(message.usage.cache_read_input_tokens or 0 for message in seen)
        > 0
    )
    assert (
        bill["cache_write_tokens"]
        == sum(message.usage.cache_creation_input_tokens or 0 for message in seen)
        > 0
    )
    expected = sum(map(price, now), Decimal()) + sum(
        (price(m, processing="batch") for m in later), Decimal()
    )
    assert Decimal(bill["usd"]) == expected
    assert sum(part["responses"] for part in bill["by"]) == 56
    rows = listed["data"] + rest["data"]
    assert rest["next"] is None
    assert {row["message_id"] for row in rows} == {message.id for message in seen}
    assert {row["custom_id"] for row in rows if row["batch_id"] == batch.id} == {
        line.custom_id for line in lines
    }


@pytest.mark.slow
def test_the_bill_outlives_a_kill(tmp_path: Path) -> None:
    with running_endpoint(tmp_path, "--engine", "echo") as endpoint:
        endpoint.client().messages.create(**asking("Before the kill"))
        before = endpoint.bill()
        endpoint.kill()
    with running_endpoint(tmp_path, "--engine", "echo") as endpoint:
        assert endpoint.bill() == before


@pytest.mark.slow
def test_a_clean_end_loses_nothing_of_the_bill(tmp_path: Path) -> None:
    with running_endpoint(tmp_path, "--engine", "echo") as endpoint:
        for _ in range(5):
            endpoint.client().messages.create(**asking("Just before the end"))
        endpoint.stop()
    with running_endpoint(tmp_path, "--engine", "echo") as endpoint:
        until(lambda: endpoint.responses_about("Just before the end") == 5)
