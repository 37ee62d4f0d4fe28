"""Reading a batch and the list of batches: malformed fields count as unknown, and no number exceeds its bound."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic
from hypothesis import given

from lanes.provider import batches
from lanes.provider.batches import MOST_COUNTED, ProviderBatch, read_batch
from lanes.provider.errors import CallFailed
from tests.hostile.answers import odd_values, views, written
from tests.provider.test_results import HOST, ID, VIEW

BEGUN = datetime(2026, 11, 24, 12, tzinfo=UTC)
ODD_IDS = [
    "",
    ".",
    "..",
    "../messages",
    "a/b",
    "a%2fb",
    "a?b",
    "a#b",
    "a b",
    "a\nb",
    "a\x00b",
    "\x1b[31m",
    "x" * 257,
    "ü",
    None,
    5,
    ["a"],
]


@given(views(VIEW))
def test_malformed_times_and_counts_are_bounded_and_a_batch_ends_between_start_and_now(
    view: dict[str, Any],
) -> None:
    batch = read_batch(view)
    assert (batch.id, batch.ended, batch.has_results) == (ID, True, True)
    assert batch.requests is None or 0 <= batch.requests <= 5 * MOST_COUNTED
    assert 0 <= batch.processed <= 5 * MOST_COUNTED < 2**31
    assert all(type(number) is int and number >= 0 for number in batch.outcomes.values())
    now = BEGUN + timedelta(hours=2)
    assert BEGUN <= batch.compute_end(now, begun_at=BEGUN) <= now


def test_a_complete_batch_is_read_unchanged() -> None:
    batch = read_batch(VIEW)
    assert batch == ProviderBatch(
        ID,
        2,
        2,
        BEGUN,
        True,
        BEGUN + timedelta(minutes=10),
        False,
        {"succeeded": 2, "errored": 0, "canceled": 0, "expired": 0},
        has_results=True,
    )
    assert read_batch(VIEW | {"created_at": "2026-11-24T12:00:00"}).created_at == BEGUN


@pytest.mark.parametrize("odd", ODD_IDS, ids=lambda odd: repr(odd)[:20])
def test_an_id_that_a_url_path_cannot_contain_is_refused(odd: Any) -> None:
    with pytest.raises(ValueError, match="has no id that can be asked for"):
        read_batch(VIEW | {"id": odd})


async def listed(*pages: Any, date: str = "") -> list[str]:
    """Return the ids that these pages list for the last hour; the last page repeats."""
    left = list(pages)

    def answer(request: httpx2.Request) -> httpx2.Response:
        page = left.pop(0) if len(left) > 1 else left[0]
        return httpx2.Response(200, content=written(page), headers={"date": date} if date else {})

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    async with AsyncAnthropic(
        api_key="x", base_url=HOST, max_retries=0, http_client=http
    ) as client:
        return [
            each.id
            for each in await (await batches.listing(client)).since(BEGUN - timedelta(hours=1))
        ]


def page(*views: Any, more: Any = False, last: Any = "b") -> dict[str, Any]:
    return {"data": list(views), "has_more": more, "first_id": "a", "last_id": last}


async def test_a_list_is_read_to_its_end_or_to_the_first_batch_that_is_too_old() -> None:
    old = VIEW | {"id": "old", "created_at": "2026-11-24T10:00:00Z"}
    assert await listed(page(VIEW, more=True), page(VIEW | {"id": "b"})) == [ID, "b"]
    assert await listed(page(VIEW, old, VIEW, more=True)) == [ID]


async def test_a_batch_without_a_readable_creation_time_is_listed_and_does_not_end_the_list() -> (
    None
):
    assert await listed(
        page(VIEW | {"created_at": "noon"}, VIEW | {"id": "b", "request_counts": None})
    ) == [ID, "b"]


@pytest.mark.parametrize(
    "pages",
    [
        [page(VIEW, more=True)],  # a list without an end
        [page(VIEW, more=True), None],
        [{}],
        [page() | {"data": None}],
        [page() | {"data": {}}],
        [page() | {"data": ""}],
        [page(more=None)],
        [page("x")],
        [page(VIEW | {"id": ".."})],
    ],
)
async def test_an_unreadable_list_is_never_mistaken_for_an_empty_one(pages: list[Any]) -> None:
    """Expect an error: a batch that the list does not show would count as never created and be paid again."""
    with pytest.raises(CallFailed):
        await listed(*pages)


@given(odd_values)
async def test_a_malformed_page_is_a_failed_call(odd: Any) -> None:
    with pytest.raises(CallFailed):
        await listed(odd)


@pytest.mark.parametrize("date", ["noon", "Fri, 31 Dec 9999 23:59:59 -1400", "0"])
async def test_an_invalid_date_header_is_ignored(date: str) -> None:
    assert await listed(page(VIEW), date=date) == [ID]


@pytest.mark.parametrize(
    "said",
    [b"", b"null", b"[]", b"{", b'{"id": null}', b"[" * 100_000],
    ids=lambda said: repr(said[:12]),
)
async def test_an_unreadable_batch_is_a_failed_call(said: bytes) -> None:
    http = httpx2.AsyncClient(
        transport=httpx2.MockTransport(lambda _: httpx2.Response(200, content=said))
    )
    async with AsyncAnthropic(
        api_key="x", base_url=HOST, max_retries=0, http_client=http
    ) as client:
        with pytest.raises(CallFailed):
            await batches.retrieve(client, ID)
