"""Tests of usage and cost by time bucket, from the stand-in's own bill."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx2

from anthropic_standin.testing import Endpoint, asking, batch_of

GROUPED = {"group_by[]": ["api_key_id", "workspace_id", "model", "service_tier"]}


def get(endpoint: Endpoint, path: str, **params: Any) -> Any:
    url = f"{endpoint.url}/v1/organizations/{path}"
    answer = httpx2.get(url, params=params, headers={"x-api-key": "sk-ant-admin"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def today() -> dict[str, str]:
    """Return a period from an hour before to an hour after now."""
    now = datetime.now(UTC)
    return {
        "starting_at": (now - timedelta(hours=1)).isoformat(),
        "ending_at": (now + timedelta(hours=1)).isoformat(),
    }


def rows(endpoint: Endpoint, path: str, **params: Any) -> list[dict[str, Any]]:
    told = get(endpoint, path, **today(), **params)
    return [row for bucket in told["data"] for row in bucket["results"]]


def summed(found: list[dict[str, Any]], tier: str) -> int:
    return sum(row["output_tokens"] for row in found if row["service_tier"] == tier)


def test_usage_and_cost_are_those_of_the_bill(echo: Endpoint) -> None:
    before = rows(echo, "usage_report/messages", **GROUPED)
    cost_before = rows(echo, "cost_report")
    client = echo.client()
    message = client.messages.create(**asking("Now"))
    batch = client.messages.batches.create(requests=batch_of(["Later", "Later still"]))
    echo.ended(batch.id)
    answered = [each.result for each in client.messages.batches.results(batch.id)]
    later = [each.message for each in answered if each.type == "succeeded"]
    found = rows(echo, "usage_report/messages", **GROUPED)
    assert {row["api_key_id"] for row in found} == {"apikey_standin"}
    standard = summed(found, "standard") - summed(before, "standard")
    assert standard == message.usage.output_tokens
    in_batch = sum(each.usage.output_tokens for each in later)
    assert summed(found, "batch") - summed(before, "batch") == in_batch
    costs = [rows(echo, "cost_report"), cost_before]
    cents, had = (sum(Decimal(row["amount"]) for row in each) for each in costs)
    ids = {message.id, *(each.id for each in later)}
    listed = echo.control("GET", "bill/messages?limit=100000")["data"]
    usd = sum(Decimal(row["usd"]) for row in listed if row["message_id"] in ids)
    assert (cents - had) / 100 == usd
    assert {row["currency"] for row in costs[0]} == {"USD"}


def test_buckets_come_in_pages(echo: Endpoint) -> None:
    span = {"starting_at": "2026-01-01T00:10:00Z", "ending_at": "2026-01-01T05:00:00Z"}
    asked = {**span, "bucket_width": "1h", "limit": 2}
    first = get(echo, "usage_report/messages", **asked)
    assert [each["starting_at"] for each in first["data"]] == [
        "2026-01-01T00:00:00Z",
        "2026-01-01T01:00:00Z",
    ]
    assert first["has_more"]
    pages = [first]
    while pages[-1]["has_more"]:
        pages.append(get(echo, "usage_report/messages", **asked, page=pages[-1]["next_page"]))
    assert [len(each["data"]) for each in pages] == [2, 2, 1]
    assert pages[-1]["next_page"] is None


def test_a_rule_changes_what_is_reported_of_a_message(echo: Endpoint) -> None:
    before = summed(rows(echo, "usage_report/messages", **GROUPED), "standard")
    message = echo.client().messages.create(**asking("Once"))
    once = message.usage.output_tokens
    for kind, times in (("omit", 0), ("repeat", 2)):
        echo.control("DELETE", "faults")
        echo.fault("bill", kind, match=message.id)
        found = rows(echo, "usage_report/messages", **GROUPED)
        assert summed(found, "standard") - before == times * once
    echo.control("DELETE", "faults")
    echo.fault("bill", "foreign", match=message.id)
    other = [
        row
        for row in rows(echo, "usage_report/messages", **GROUPED)
        if row["workspace_id"] == "wrkspc_other"
    ]
    assert summed(other, "standard") == once


def test_the_one_key_is_any_key(echo: Endpoint) -> None:
    (key,) = get(echo, "api_keys")["data"]
    assert (key["id"], key["partial_key_hint"]) == ("apikey_standin", "...")
