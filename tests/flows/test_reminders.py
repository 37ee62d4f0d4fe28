"""An approval that waits is a Slack message with a link, and a daily reminder as a reply in the thread of the message."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import pytest_asyncio

from lanes.rollouts.rollout import Approval, AskApproval, Rollout
from lanes.slack.messenger import Bot, Messenger, Webhook
from lanes.store.database import Database
from lanes.store.rollouts import rollout_moves, rollouts
from lanes.words import Signature
from tasks.deliver import remind, send, tell
from tests.conftest import later
from tests.examples import publish
from tests.prefect_standin import PrefectStandIn
from tests.rollouts import playbook, step
from tests.slack_standin import CHANNEL, TOKEN, PostedMessage, SlackStandIn

UI = "http://prefect.example"
RUN = UUID(int=7)


class ClockedDatabase(Database):
    """A database whose clock is set by the test."""

    def __init__(self, url: str) -> None:
        super().__init__(url, clock=lambda _: self.at)
        self.at = later()


@pytest_asyncio.fixture
async def clock(database_url: str, prefect: PrefectStandIn) -> AsyncIterator[ClockedDatabase]:
    opened = ClockedDatabase(database_url)
    async with opened:
        yield opened


async def asks(clock: ClockedDatabase) -> Rollout:
    """Start a rollout that has waited for approval since noon."""
    await clock.run(publish, now=later())
    begun = await clock.run(
        rollout_moves.start,
        playbook(step(100, approval=True)),
        name="letters",
        consumer=None,
        by=Signature("ada", "trial", later()),
        run_id=RUN,
    )
    await clock.run(
        rollout_moves.apply, begun, AskApproval("every gate passed at 100 %"), [], now=later()
    )
    return await clock.run(rollouts.find, begun.id)


async def tick(
    clock: ClockedDatabase, standin: SlackStandIn, messenger: Messenger, **after: float
) -> int:
    """Deliver everything that is due this long after noon; return the number of new reminders."""
    clock.at = later(**after)
    await tell(clock, messenger, ui_url=UI)
    await remind(clock, ui_url=UI)
    before = len(reminders(standin))
    await send(clock, messenger, ui_url=UI)
    return len(reminders(standin)) - before


def asked(standin: SlackStandIn) -> PostedMessage:
    """Return the one message about the approval."""
    (only,) = [each for each in standin.messages if "incident_id" in each.payload]
    return only


def reminders(standin: SlackStandIn) -> list[PostedMessage]:
    """Return the reminders in the thread of that message."""
    threads = [each.ts for each in standin.messages if "incident_id" in each.payload]
    said = [each for thread, each in standin.replies if thread in threads]
    return [each for each in said if each.text.startswith("A rollout waits")]


async def test_the_message_contains_the_question_and_a_link_to_the_run(
    clock: ClockedDatabase, standin: SlackStandIn
) -> None:
    await asks(clock)
    assert await tick(clock, standin, Bot(TOKEN, CHANNEL, standin.api_url)) == 0
    message = asked(standin)
    assert "A rollout waits for approval: letters" in message.text
    assert "every gate passed at 100 %" in message.text
    assert f"{UI}/v2/runs/flow-run/{RUN}" in str(message.blocks)


@pytest.mark.slow
async def test_people_are_reminded_once_a_day_in_the_thread_until_the_decision(
    clock: ClockedDatabase, standin: SlackStandIn
) -> None:
    waiting, bot = await asks(clock), Bot(TOKEN, CHANNEL, standin.api_url)
    replies = [
        await tick(clock, standin, bot, hours=hours) for hours in (0, 1, 23, 24, 25, 47, 48, 49)
    ]
    assert replies == [0, 0, 0, 1, 0, 0, 1, 0]
    first, second = reminders(standin)
    assert first.text.startswith(
        "A rollout waits for approval: letters, for 24 h so far. Without an answer, it is rolled back <!date^"
    )
    assert "for 2.0 d so far" in second.text
    assert f"{UI}/v2/runs/flow-run/{RUN}" in str(first.blocks)
    await clock.run(rollout_moves.hear, waiting, Approval(True, "bob", "fine"), now=later(hours=50))
    assert await tick(clock, standin, bot, hours=99) == 0
    assert asked(standin).text.startswith(
        ":white_check_mark: Resolved: A rollout waits for approval"
    )


@pytest.mark.slow
async def test_a_refused_reminder_is_retried_and_a_reminder_that_may_have_arrived_is_not(
    clock: ClockedDatabase, standin: SlackStandIn
) -> None:
    await asks(clock)
    bot = Bot(TOKEN, CHANNEL, standin.api_url)
    await tick(clock, standin, bot)
    standin.fail("chat.postMessage", error="ratelimited")
    assert [
        await tick(clock, standin, bot, hours=24, minutes=minutes) for minutes in (0, 5, 10)
    ] == [0, 1, 0]
    standin.fail("chat.postMessage", lost=True)
    assert [
        await tick(clock, standin, bot, hours=48, minutes=minutes) for minutes in (11, 12, 30)
    ] == [1, 0, 0]
    assert len(reminders(standin)) == 2


async def test_a_webhook_posts_the_opening_and_no_reminders(
    clock: ClockedDatabase, standin: SlackStandIn
) -> None:
    await asks(clock)
    hook = Webhook(standin.webhook_url)
    assert [await tick(clock, standin, hook, days=days) for days in (0, 1, 2)] == [0, 0, 0]
    assert len(standin.hooked) == 1
