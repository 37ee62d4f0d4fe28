"""Telling Slack: one message an incident through every kind of trouble, and a watch that trouble never fails."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import text

from blocks.slack_channel import SlackChannel
from lanes.incident import Promise
from lanes.promises import Assessment
from lanes.slack.messenger import Bot, Messenger, NotTold, Webhook
from lanes.slack.wording import trial
from lanes.store import incidents
from lanes.store.database import Database
from lanes.words import Verdict
from tasks import watch
from tasks.deliver import tell
from tests.conftest import NOON
from tests.prefect_standin import PrefectStandIn
from tests.slack_standin import CHANNEL, CHANNEL_ID, TOKEN, Said, SlackStandIn

BREACH = Assessment(Promise.REALTIME_SLOW, "letters", Verdict.FAILED, 7.5, 5, 40, "It is slow.")
KEPT = replace(BREACH, verdict=Verdict.PASSED, value=1, sentence="It is fast again.")
UI = "http://prefect.example"


@pytest.fixture
def standin() -> Iterator[SlackStandIn]:
    """A Slack of the test's own."""
    running = SlackStandIn()
    yield running
    running.stop()


@pytest_asyncio.fixture
async def db(database_url: str, prefect: PrefectStandIn) -> AsyncIterator[Database]:
    async with Database(database_url) as opened:
        yield opened


class Story:
    """An incident in the database and what Slack is told of it."""

    def __init__(self, db: Database, standin: SlackStandIn, messenger: Messenger | None = None) -> None:
        self.db, self.standin = db, standin
        self.messenger = messenger or Bot(TOKEN, CHANNEL, standin.api_url)

    async def record(self, assessment: Assessment) -> None:
        await self.db.run(incidents.record, [assessment], now=await self.db.now())

    async def told(self) -> int:
        """The number of messages posted or edited once every rest is over."""
        await self.db.run(lambda c: c.execute(text("update lanes.slack_post set next_try_at = clock_timestamp()")))
        return await tell(self.db, self.messenger, ui_url=UI)

    async def post(self) -> Any:
        return await self.db.run(lambda c: c.execute(text("select * from lanes.slack_post")).one())

    @property
    def message(self) -> Said:
        (only,) = self.standin.messages
        return only


@pytest.fixture
def story(db: Database, standin: SlackStandIn) -> Story:
    return Story(db, standin)


async def test_an_incident_is_one_message_that_is_edited_when_it_ends(story: Story) -> None:
    await story.record(BREACH)
    assert await story.told() == 1
    assert "It is slow." in story.message.text
    assert await story.told() == 0
    await story.record(KEPT)
    assert await story.told() == 1
    assert story.message.text.startswith(":white_check_mark: Resolved")
    assert len(story.message.edits) == 1
    assert await story.told() == 0


async def test_a_worse_severity_edits_the_message(story: Story) -> None:
    await story.record(BREACH)
    await story.told()
    await story.record(replace(BREACH, value=40))
    assert await story.told() == 1
    assert story.message.text.startswith(":red_circle: Critical")


async def test_a_figure_that_moved_is_told_in_the_message_and_the_end_says_how_it_ended(story: Story) -> None:
    failing = Assessment(Promise.REALTIME_FAILING, "letters", Verdict.FAILED, 100, 5, 24, "24 of 24 attempts failed.")
    await story.record(failing)
    await story.told()
    worse = replace(failing, samples=935, sentence="935 of 935 attempts failed.")
    await story.record(worse)
    assert await story.told() == 0  # a figure alone is not told more often than every five minutes
    await story.db.run(lambda c: c.execute(text("update lanes.slack_post set posted_at = posted_at - interval '5 min'")))
    assert await story.told() == 1
    assert "935 of 935" in story.message.text
    await story.record(replace(failing, verdict=Verdict.PASSED, value=1, sentence="1 of 100 attempts failed."))
    await story.told()
    said = f"{story.message.text} {story.message.blocks}"
    assert "1 of 100 attempts failed." in said
    assert "935" not in said
    assert "100 %" not in said


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 500}, {"status": 503}, {"status": 200, "error": "not_in_channel"}, {"status": 429, "retry_after": 60},
        {"status": 429, "retry_after": 0}, {"status": 200, "error": "invalid_auth"}, {"lost": True},
    ],
    ids=str,
)  # fmt: skip
async def test_whatever_becomes_of_the_first_post_there_is_one_message_in_the_end(
    story: Story, trouble: dict[str, Any]
) -> None:
    await story.record(BREACH)
    story.standin.fail("chat.postMessage", **trouble)
    await story.told()
    await story.told()
    await story.record(KEPT)
    await story.told()
    await story.told()
    assert story.message.text.startswith(":white_check_mark: Resolved")
    assert (await story.post()).last_error is None


async def test_a_post_whose_process_died_before_it_heard_the_answer_is_found_again(story: Story) -> None:
    await story.record(BREACH)
    await story.told()
    forgotten = "update lanes.slack_post set ts = null, channel = null, posted_state = null, unsure = true"
    await story.db.run(lambda c: c.execute(text(forgotten)))
    await story.told()
    assert len(story.standin.messages) == 1
    row = await story.post()
    assert (row.ts, row.channel, row.unsure) == (story.message.ts, CHANNEL_ID, False)


@pytest.mark.parametrize("slow_by", [timedelta(minutes=5), timedelta(hours=3), timedelta(minutes=-5)], ids=str)
async def test_a_post_whose_end_is_unknown_is_found_whatever_slacks_clock_says(db: Database, slow_by: timedelta) -> None:
    standin = SlackStandIn(clock=lambda: datetime.now(UTC) - slow_by)
    story = Story(db, standin)
    await story.record(BREACH)
    standin.fail("chat.postMessage", lost=True)
    await story.told()
    for number in range(450):
        standin.say(f"chatter {number}", at=datetime.now(UTC) - slow_by)
    await story.told()
    standin.stop()
    assert len([each for each in standin.messages if each.payload]) == 1
    assert (await story.post()).posted_state == "open"


async def test_while_slack_cannot_be_asked_an_unsure_post_is_not_repeated(story: Story) -> None:
    await story.record(BREACH)
    story.standin.fail("chat.postMessage", lost=True)
    story.standin.fail("conversations.history", status=500, times=2)
    await story.told()
    await story.told()
    assert len(story.standin.messages) == 1
    assert (await story.post()).unsure
    await story.told()
    assert len(story.standin.messages) == 1
    assert (await story.post()).posted_state == "open"


async def test_a_refusal_is_kept_with_a_remedy_and_waits(story: Story) -> None:
    await story.record(BREACH)
    story.standin.fail("chat.postMessage", error="not_in_channel")
    await story.told()
    assert "invite it" in (await story.post()).last_error
    assert await tell(story.db, story.messenger, ui_url=UI) == 0
    assert story.standin.calls.count("chat.postMessage") == 1


async def test_an_outage_of_slack_loses_nothing(db: Database, standin: SlackStandIn) -> None:
    gone = SlackStandIn()
    gone.stop()
    story = Story(db, standin, Bot(TOKEN, CHANNEL, gone.api_url))
    await story.record(BREACH)
    assert await story.told() == 0
    await story.record(KEPT)
    assert await story.told() == 0
    story.messenger = Bot(TOKEN, CHANNEL, standin.api_url)
    assert await story.told() == 1
    assert story.message.text.startswith(":white_check_mark: Resolved")


async def test_while_slack_is_away_the_others_wait_instead_of_being_tried_in_vain(story: Story) -> None:
    for workload in ("letters", "bills", "notes"):
        await story.record(replace(BREACH, workload=workload))
    story.standin.fail("chat.postMessage", status=503)
    assert await story.told() == 0
    assert story.standin.calls == ["chat.postMessage"]
    assert await story.told() == 3
    assert len(story.standin.messages) == 3


@pytest.mark.parametrize("kind", ["bot", "webhook"])
async def test_two_hundred_breaches_at_once_are_two_hundred_messages_within_slacks_limit(
    db: Database, standin: SlackStandIn, kind: str
) -> None:
    webhook = kind == "webhook"
    story = Story(db, standin, Webhook(standin.webhook_url) if webhook else None)
    breaches = [replace(BREACH, workload=f"letters-{number}") for number in range(200)]
    recorded = await db.run(incidents.record, breaches, now=await db.now())
    assert len(recorded.opened) == 200
    standin.allow(30)  # of the next posts; the others are told to come back in a minute
    for _ in range(10):
        await story.told()
        standin.allow(30)
    headings = [each["text"] for each in standin.hooked] if webhook else [each.text for each in standin.messages]
    assert len(headings) == len(set(headings)) == 200
    standin.allow(None)
    assert await story.told() == 0


async def test_a_message_that_somebody_deleted_is_told_anew(story: Story) -> None:
    await story.record(BREACH)
    await story.told()
    story.standin.messages.clear()
    await story.record(KEPT)
    await story.told()
    await story.told()
    assert story.message.text.startswith(":white_check_mark: Resolved")


async def test_with_a_webhook_there_is_one_message_at_the_start_and_one_at_the_end(
    db: Database, standin: SlackStandIn
) -> None:
    story = Story(db, standin, Webhook(standin.webhook_url))
    await story.record(BREACH)
    await story.told()
    await story.record(replace(BREACH, value=40))
    await story.told()
    await story.record(KEPT)
    standin.fail("webhook", status=404, error="no_service")
    await story.told()
    assert "answered 404 (no_service)" in (await story.post()).last_error
    await story.told()
    await story.told()
    assert [each["text"].split()[1] for each in standin.hooked] == ["Warning:", "Resolved:"]


def test_a_block_prefers_the_bot_and_says_none_without_an_address(standin: SlackStandIn) -> None:
    token, url = SecretStr(TOKEN), SecretStr(standin.webhook_url)
    assert isinstance(SlackChannel(bot_token=token, channel=CHANNEL, webhook_url=url).connect(), Bot)
    assert isinstance(SlackChannel(bot_token=token, webhook_url=url).connect(), Webhook)
    assert SlackChannel(bot_token=token).connect() is None


def test_an_address_that_is_not_slacks_is_no_answer(standin: SlackStandIn) -> None:
    with pytest.raises(NotTold, match="check SLACK_WEBHOOK_URL"):
        Webhook(f"http://127.0.0.1:{standin.port}/api/other").post(trial(NOON, ui_url=UI))


async def test_a_watch_goes_on_when_slack_and_the_heartbeat_are_away(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANES_HEARTBEAT_URL", "http://127.0.0.1:9/nobody")
    monkeypatch.setattr(watch, "deliver_posts", _away)
    async with watch.watching(db) as watcher:
        await watcher.tick()
        await watcher.tick()


async def test_each_evaluation_pings_the_heartbeat(
    db: Database, standin: SlackStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANES_HEARTBEAT_URL", f"http://127.0.0.1:{standin.port}/beat")
    monkeypatch.setattr(watch, "deliver_posts", _away)
    async with watch.watching(db) as watcher:
        for rest_per_work in (0, 1e6, 1e6):  # the third tick falls into the rest of the second
            monkeypatch.setattr(watch, "REST_PER_WORK", rest_per_work)
            await watcher.tick()
    assert standin.pinged == ["/beat", "/beat"]


async def _away(*_: object) -> None:
    raise ConnectionError("nobody answers")
