"""A subscriber gets every event, in order for each item, whatever the subscriber and the delivering processes do."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prefect.logging import disable_run_logger
from sqlalchemy import text

from lanes.store import webhooks
from lanes.store.database import Database
from tests.passing_time import PassingTime
from tests.webhook_receiver import Receiver, Subscribers

Happening = st.tuples(st.sampled_from("ab"), st.sampled_from([200, 500, "resets", "killed"]))


@pytest.mark.slow
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(happenings=st.lists(Happening, min_size=1, max_size=8), most=st.integers(1, 4))
def test_no_event_is_lost_and_the_events_of_an_item_keep_their_order(
    database_url: str, happenings: list[tuple[str, Any]], most: int
) -> None:
    with disable_run_logger():
        asyncio.run(_delivers_all(database_url, happenings, most))


async def _delivers_all(url: str, happenings: list[tuple[str, Any]], most: int) -> None:
    time, crm = PassingTime(), Receiver()
    async with Database(url, clock=time.of_database) as db:
        await db.run(
            lambda c: c.execute(text("truncate lanes.webhook, lanes.webhook_event cascade"))
        )
        subscribers, save = Subscribers(db), webhooks.save
        await subscribers.add(crm)
        crm.secrets = []
        faults = [fault for _, fault in happenings]
        crm.says = lambda _: (
            next((f for f in [faults.pop(0)] if f != "killed"), 200) if faults else 200
        )
        try:
            for n, (key, fault) in enumerate(happenings):
                await subscribers.told(key, n=n)
                if fault == "killed":
                    webhooks.save = lambda *_, **__: False
                process = subscribers.deliverer(most=most)
                await process.deliver()
                webhooks.save = save
                await (subscribers.kill(process) if fault == "killed" else subscribers.close())
                time.passes(seconds=7)
            for _ in range(9):
                await subscribers.deliverer(most=most).deliver()
                await subscribers.close()
                time.passes(minutes=60)
        finally:
            webhooks.save = save
            crm.stop()
    for key in "ab":
        wanted = [n for n, (of, _) in enumerate(happenings) if of == key]
        got = [each["data"]["n"] for each in crm.taken if each["data"]["key"] == key]
        assert list(dict.fromkeys(got)) == wanted
