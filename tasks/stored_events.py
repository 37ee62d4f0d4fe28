"""What Prefect's server has stored of arrivals and amendments: read page by page, and counted."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.events import Event
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventOrder

from lanes.doors.stream import SPAN, span_of
from tasks.admission import AMENDED, ARRIVED

PAGE = 50  # the most stored events the server gives at once
COUNT: Any = "/events/count-by/time"  # a path that the client's types do not know
MINUTES = SPAN.total_seconds() / 60


async def pages(
    client: PrefectClient, since: datetime, until: datetime, *, of: int = PAGE
) -> AsyncIterator[Sequence[Event]]:
    """The events that occurred in between, both ends included, oldest first, as many as `of` on a page."""
    page = await client.read_events(_occurred(since, until), limit=of)
    while page.events:
        yield page.events
        following = await page.get_next_page(client)
        if following is None:
            return
        page = following


async def counts(client: PrefectClient, since: datetime, until: datetime) -> dict[datetime, int]:
    """How many events occurred in each span from the one that holds `since` to the one that holds `until`; one request."""
    wanted = _occurred(span_of(since), span_of(until) + SPAN - datetime.resolution).model_dump(
        mode="json"
    )
    asked = {"filter": wanted, "time_unit": "minute", "time_interval": MINUTES}
    answer = await client.request("POST", COUNT, json=asked)
    return {
        span_of(datetime.fromisoformat(each["start_time"])): each["count"] for each in answer.json()
    }


def _occurred(since: datetime, until: datetime) -> EventFilter:
    return EventFilter(
        event=EventNameFilter(name=[ARRIVED, AMENDED]),
        occurred=EventOccurredFilter.model_validate({"since": since, "until": until}),
        order=EventOrder.ASC,
    )  # pyright: ignore[reportCallIssue]
