"""The provider's bill, read with an admin key: usage and cost by period, model, service tier, key and workspace.

Source: https://platform.claude.com/docs/en/api/admin-api/usage-cost (anthropic 2.13 has no resource for these reports).
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx2

from lanes.money.bill import KINDS, BillKey, ProviderRow, Tokens
from lanes.provider.errors import Action, CallFailed
from lanes.provider.message import quote_text
from lanes.text import basic_auth
from lanes.words import Lane

DAY = timedelta(days=1)
GROUPS = ["api_key_id", "workspace_id", "model", "service_tier"]
MOST_PAGES = 200
SILENCE_S = 30.0
Row = Mapping[str, Any]


async def read(
    base_url: str,
    keys: tuple[str, str],
    login: str | None,
    since: datetime,
    until: datetime,
    width: timedelta = DAY,
) -> dict[BillKey, ProviderRow]:
    """Return the rows of the bill from `since` until `until`; they have costs only if `width` is a day.

    `keys` are the admin key and the API key whose usage is ours. If the API key matches no key of the organization, all usage
    counts as ours, and costs are not read.

    Raises:
        CallFailed: the provider refuses the report, or its answer cannot be read.
    """
    headers = {"x-api-key": keys[0], "anthropic-version": "2023-06-01", **basic_auth(login)}
    span = {"starting_at": since.isoformat(), "ending_at": until.isoformat(), "limit": "31"}
    usage = {**span, "bucket_width": "1d" if width == DAY else "1h", "group_by[]": GROUPS}
    rows = defaultdict[BillKey, ProviderRow](ProviderRow)
    client = httpx2.AsyncClient(base_url=base_url, headers=headers, timeout=SILENCE_S)
    try:
        async with client as http:
            named = [each async for each in _pages(http, "api_keys", {"limit": "100"})]
            our_key = next((each for each in named if _is_of(keys[1], each)), None)
            async for bucket in _pages(http, "usage_report/messages", usage):
                for row in bucket["results"]:
                    billed, tokens = rows[_read_key(bucket, row)], _tokens(row)
                    if our_key is None or row["api_key_id"] == our_key["id"]:
                        billed.own.update(tokens)
                    if our_key is None or row["workspace_id"] == our_key["workspace_id"]:
                        billed.workspace.update(tokens)
            if our_key is not None and width == DAY:
                costs = {**span, "group_by[]": ["workspace_id", "description"]}
                async for bucket in _pages(http, "cost_report", costs):
                    for row in bucket["results"]:
                        if row["workspace_id"] == our_key["workspace_id"] and row["model"]:
                            if (currency := row.get("currency", "USD")) != "USD":
                                raise _unreadable(f"its costs are in {currency}, not in USD")
                            billed, cents = rows[_read_key(bucket, row)], Decimal(row["amount"])
                            if not cents.is_finite():
                                raise ValueError("a cost that is no number")
                            billed.cost_usd = (billed.cost_usd or 0) + cents / 100
        return {key: row for key, row in rows.items() if since <= key.at < until}
    except CallFailed:
        raise
    except Exception as error:  # of the transport, or of an answer with an unexpected shape
        raise _unreadable(f"no answer that can be read ({type(error).__name__})") from error


async def _pages(http: httpx2.AsyncClient, path: str, params: Row) -> AsyncIterator[Row]:
    """Yield the rows of all pages; the list of keys and the reports name the next page differently."""
    onwards: dict[str, Any] = {}
    for _ in range(MOST_PAGES):
        answer = await http.get(f"/v1/organizations/{path}", params={**params, **onwards})
        if answer.status_code != 200:
            message = f"the provider answered {answer.status_code}: {quote_text(answer.text)}"
            is_refused = answer.status_code in (401, 403, 404)
            raise _unreadable(f"{message}; check ANTHROPIC_ADMIN_KEY" if is_refused else message)
        page = answer.json()
        for each in page["data"]:
            yield each
        if not page["has_more"]:
            return
        next_page = page.get("next_page")
        onwards = {"page": next_page} if next_page else {"after_id": page["last_id"]}
    raise ValueError("too many pages")


def _unreadable(why: str) -> CallFailed:
    message = f"the provider's bill: {why}"
    if not why.endswith("ADMIN_KEY"):
        message += "; nothing was compared, and it is read again tomorrow"
    return CallFailed(Action.RETRY, message, maybe_billed=False)


def _is_of(key: str, api_key: Row) -> bool:
    """Return whether the partial hint of a listed key, its first and last characters, matches our key."""
    first, dots, last = (api_key["partial_key_hint"] or "").partition("...")
    return bool(dots) and key.startswith(first) and key.endswith(last)


def _read_key(bucket: Row, row: Row) -> BillKey:
    lane = Lane.BATCH if row["service_tier"] == "batch" else Lane.REALTIME
    return BillKey(datetime.fromisoformat(bucket["starting_at"]), str(row["model"]), lane)


def _tokens(row: Row) -> Tokens:
    written = sum(map(int, (row["cache_creation"] or {}).values()))
    counts = (row["uncached_input_tokens"], row["output_tokens"], row["cache_read_input_tokens"])
    return Tokens(dict(zip(KINDS, map(int, (*counts, written)), strict=True)))
