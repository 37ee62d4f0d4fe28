"""GET /v1/organizations/...: usage and cost by time bucket, from the stand-in's own bill, and its one API key.

Shapes: https://platform.claude.com/docs/en/api/admin-api/usage-cost/get-messages-usage-report and .../get-cost-report.
Rules at `bill` change the report of a message: `omit` leaves it out, `repeat` counts it twice, `foreign` assigns it to
another key in another workspace.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from anthropic_standin.batches_api import suffer
from anthropic_standin.bill import PICO, Bill, price_picousd
from anthropic_standin.errors import ApiError, invalid
from anthropic_standin.exchange import HttpAnswer, Request, json_answer
from anthropic_standin.faults import Faults
from anthropic_standin.paging import page
from anthropic_standin.wire import rfc3339

ROOT = "/v1/organizations/"
SECONDS = {"1m": 60, "1h": 3_600, "1d": 86_400}
LIMITS = {"1m": (60, 1_440), "1h": (24, 168), "1d": (7, 31)}  # buckets of a page: default, maximum
KEY = {
    "id": "apikey_standin",
    "type": "api_key",
    "name": "stand-in",
    "status": "active",
    "workspace_id": None,
    "partial_key_hint": "...",  # it accepts any key
}
OWN, OTHER = ("apikey_standin", None), ("apikey_other", "wrkspc_other")
GROUPS = ("api_key_id", "workspace_id", "model", "service_tier")
TOKENS = (
    "uncached_input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation.ephemeral_5m_input_tokens",
    "cache_creation.ephemeral_1h_input_tokens",
)


class Served(NamedTuple):
    """The tokens of a billed response by kind, with its time and its group."""

    at: float
    group: dict[str, str | None]
    tokens: dict[str, int]


class OrganizationApi:
    """The API for admin keys."""

    def __init__(self, *, bill: Bill, faults: Faults) -> None:
        self._bill, self._faults = bill, faults

    async def handle(self, request: Request) -> HttpAnswer:
        """Answer a GET request under /v1/organizations/; ApiError 404 for an unknown path."""
        await suffer(self._faults.take("organizations", request.path))
        fields = parse_qs(request.query.decode())
        match request.path.removeprefix(ROOT):
            case "api_keys":
                return json_answer(page([KEY], has_more=False))
            case "usage_report/messages":
                return json_answer(await asyncio.to_thread(self._report, fields, _usage))
            case "cost_report":
                daily = {**fields, "bucket_width": ["1d"]}
                return json_answer(await asyncio.to_thread(self._report, daily, _costs))
        raise ApiError(404, f"There is no {request.method} {request.path} here")

    def _report(self, fields: dict[str, list[str]], told: Any) -> dict[str, Any]:
        width = fields.get("bucket_width", ["1d"])[0]
        if width not in SECONDS:
            raise invalid(f"bucket_width: should be one of {', '.join(SECONDS)}")
        step, (usual, most) = SECONDS[width], LIMITS[width]
        begins = _moment(fields, "starting_at") // step * step
        ends = _moment(fields, "ending_at") if "ending_at" in fields else begins + usual * step
        limit = int(fields.get("limit", [str(usual)])[0])
        if not 1 <= limit <= most:
            raise invalid(f"limit: should be between 1 and {most} for buckets of {width}")
        at = float(fields["page"][0].removeprefix("page_")) if "page" in fields else begins
        starts = [at + step * n for n in range(limit) if at + step * n < ends]
        after = starts[-1] + step if starts else ends
        served = defaultdict[float, list[Served]](list)
        for each in self._served(at, after):
            served[each.at // step * step].append(each)
        groups = [each for each in GROUPS if each in fields.get("group_by[]", [])]
        data = [
            {
                "starting_at": rfc3339(start),
                "ending_at": rfc3339(start + step),
                "results": told(served[start], groups),
            }
            for start in starts
        ]
        more = after < ends
        return {"data": data, "has_more": more, "next_page": f"page_{after:.0f}" if more else None}

    def _served(self, since: float, until: float) -> Iterator[Served]:
        for row in self._bill.between(since, until):
            kinds = {rule.kind for rule in self._faults.take("bill", row["message_id"])}
            key, workspace = OTHER if "foreign" in kinds else OWN
            tier = "batch" if row["processing"] == "batch" else "standard"
            written = row["cache_write_tokens"]
            counts = (row["input_tokens"], row["output_tokens"], row["cache_read_tokens"])
            split = (0, written) if tier == "batch" else (written, 0)
            of = (key, workspace, row["model"], tier)
            one = Served(
                row["billed_at"],
                dict(zip(GROUPS, of, strict=True)),
                dict(zip(TOKENS, (*counts, *split), strict=True)),
            )
            for _ in range(0 if "omit" in kinds else 2 if "repeat" in kinds else 1):
                yield one


def _usage(served: list[Served], groups: list[str]) -> list[dict[str, Any]]:
    """Return a row for each group; fields by which the report is not grouped are null."""
    rows = []
    for group, tokens in _grouped(served, groups):
        rows.append(
            {
                **dict.fromkeys((*GROUPS, "context_window", "inference_geo")),
                **group,
                "uncached_input_tokens": tokens[TOKENS[0]],
                "output_tokens": tokens[TOKENS[1]],
                "cache_read_input_tokens": tokens[TOKENS[2]],
                "cache_creation": {
                    "ephemeral_5m_input_tokens": tokens[TOKENS[3]],
                    "ephemeral_1h_input_tokens": tokens[TOKENS[4]],
                },
                "server_tool_use": {"web_search_requests": 0},
            }
        )
    return rows


def _costs(served: list[Served], groups: list[str]) -> list[dict[str, Any]]:
    """Return a row for each workspace, model, tier and kind of token; `amount` is in cents."""
    rows = []
    for group, tokens in _grouped(served, ["workspace_id", "model", "service_tier"]):
        day = datetime.fromtimestamp(served[0].at, UTC).date().isoformat()
        processing = "batch" if group["service_tier"] == "batch" else "realtime"
        for place, (kind, count) in enumerate(tokens.items()):
            counts = tuple(count if at == place else 0 for at in range(len(TOKENS)))
            price = price_picousd(group["model"], processing, day, counts)
            if count:
                amount = format((Decimal(price) * 100 / PICO).normalize(), "f")
                more = {"cost_type": "tokens", "token_type": kind, "description": kind}
                rows.append({**group, **more, "amount": amount, "currency": "USD"})
    return rows


def _grouped(
    served: list[Served], groups: list[str]
) -> Iterator[tuple[dict[str, Any], Counter[str]]]:
    found = defaultdict[tuple[str | None, ...], Counter[str]](Counter)
    for each in served:
        sums = found[tuple(each.group[name] for name in groups)]
        for kind, count in each.tokens.items():
            sums[kind] += count
    for names, tokens in found.items():
        yield dict(zip(groups, names, strict=True)), tokens


def _moment(fields: dict[str, list[str]], name: str) -> float:
    try:
        return datetime.fromisoformat(fields[name][0]).timestamp()
    except (KeyError, ValueError):
        raise invalid(f"{name}: should be an RFC 3339 timestamp") from None
