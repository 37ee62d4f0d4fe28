"""Threads and the daily digest in Slack: each reply is posted once, whatever happens to the process or to Slack;
one file because all are scenes of one watch and one Slack."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import Connection, text

from blocks.slack_channel import SlackChannel
from lanes.commands.alerts import HandleIncident
from lanes.errors import ActionRefused
from lanes.promises.breaches import frozen
from lanes.promises.incident import Severity
from lanes.rollouts.rollout import Advance, AskApproval, RollBack, Rollout
from lanes.settings import Settings
from lanes.settling.listing import JobStatus
from lanes.slack.messenger import Bot, Webhook
from lanes.store import incidents
from lanes.store.database import Database
from lanes.store.rollouts import rollout_moves, rollouts
from lanes.store.settling import jobs
from lanes.words import Outcome, Signature
from tasks import deliver, sweep
from tasks.deliver import deliver_posts, remind, send, tell
from tasks.pages import JobPages
from tasks.sweep import BackgroundRequests
from tests.examples import admit, publish
from tests.flows.test_promises import BREACH, KEPT, UI, Story
from tests.passing_time import PassingTime
from tests.prefect_standin import PrefectStandIn
from tests.rollouts import playbook, step
from tests.slack_standin import CHANNEL, CHANNEL_ID, TOKEN, PostedMessage, SlackStandIn, shown
from tests.store import tries

WORSE = replace(BREACH, value=40)


class Thread(Story):
    """An incident and everything that is posted to Slack."""

    async def told(self) -> int:
        """Deliver once every back-off has passed; return the number of messages and replies."""
        waits = (
            "select coalesce(max(next_try_at), now()) from (select next_try_at from lanes.slack_post"
            " union all select next_try_at from lanes.slack_note) n"
        )
        until = await self.db.run(lambda c: c.execute(text(waits)).scalar_one())
        self.time.passes(seconds=max(0.0, (until - await self.db.now()).total_seconds()))
        return await self.tick()

    async def tick(self) -> int:
        """Deliver now; return the number of messages and replies."""
        total = await tell(self.db, self.messenger, ui_url=UI)
        await remind(self.db, ui_url=UI)
        return total + await send(self.db, self.messenger, ui_url=UI)

    async def handle(self, action: str, hours: float, **of: Any) -> str:
        """Silence or acknowledge the open incident, as a person does."""
        newest = "select id from lanes.incident where state = 'open' order by id desc limit 1"
        number = await self.db.run(lambda c: c.execute(text(newest)).scalar_one())
        given = {"workload": "letters", "who": "ada", "why": "a test", "incident": number, **of}
        wanted = HandleIncident.model_validate({"action": action, "hours": hours, **given})
        async with self.db.transaction() as run:
            return (await run(wanted.perform, run.now)).message

    @property
    def said(self) -> list[str]:
        """Return the texts of the replies in the thread of the one message."""
        assert {thread for thread, _ in self.standin.replies} <= {self.message.ts}
        return [each.text for _, each in self.standin.replies]


@pytest.fixture
def story(
    db: Database, prefect: PrefectStandIn, passing_time: PassingTime, standin: SlackStandIn
) -> Thread:
    return Thread(db, passing_time, standin)


async def test_an_incident_that_worsens_and_ends_is_one_message_with_two_replies(
    story: Thread,
) -> None:
    await story.record(BREACH)
    assert await story.told() == 1
    assert story.said == []
    await story.record(WORSE)
    assert await story.told() == 2
    await story.record(replace(WORSE, value=41))
    story.time.passes(minutes=6)
    await story.told()
    assert story.said == [":red_circle: Critical now: It is slow."]
    await story.record(KEPT)
    assert await story.told() == 2
    assert [each.split(":")[1] for each in story.said] == ["red_circle", "white_check_mark"]
    assert "It is fast again." in story.said[1]
    assert await story.told() == 0
    assert await story.db.run(lambda c: c.execute(text("select from lanes.slack_note")).all()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 500},
        {"status": 429, "retry_after": 60},
        {"error": "not_in_channel"},
        {"lost": True},
    ],
    ids=str,
)
async def test_after_any_failure_a_reply_has_been_posted_once_in_the_end(
    story: Thread, trouble: dict[str, Any]
) -> None:
    await story.record(BREACH)
    await story.told()
    story.standin.fail("chat.postMessage", **trouble)
    await story.record(KEPT)
    for _ in range(4):
        await story.told()
    assert len(story.said) == 1


@pytest.mark.slow
async def test_replies_arrive_in_the_order_of_their_events(story: Thread) -> None:
    await story.record(BREACH)
    await story.told()
    await story.record(WORSE)
    story.standin.fail("chat.postMessage", status=500, times=4)
    for _ in range(4):
        await story.told()
    await story.record(replace(KEPT, limit=0))  # ends at once
    await story.tick()
    for _ in range(2):
        await story.told()
    assert [each.split(":")[1] for each in story.said] == ["red_circle", "white_check_mark"]


@pytest.mark.slow
async def test_two_watches_at_once_post_everything_once(story: Thread) -> None:
    for each in (BREACH, WORSE, KEPT):
        await story.record(each)
        for _ in range(2):
            await asyncio.gather(story.tick(), story.tick())
    assert story.message.text.startswith(":white_check_mark: Resolved")
    assert len(story.said) == 2


async def test_a_reply_whose_process_died_before_it_received_the_answer_is_found_again(
    story: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise RuntimeError

    await story.record(BREACH)
    await story.told()
    await story.record(KEPT)
    with monkeypatch.context() as patched:
        patched.setattr(deliver.slack_outbox, "note_sent", dies)
        with pytest.raises(RuntimeError):
            await story.told()
    assert len(story.said) == 1
    await story.told()
    assert len(story.said) == 1
    assert await story.told() == 0


@pytest.mark.slow
async def test_a_reply_to_a_deleted_message_is_given_up(story: Thread) -> None:
    await story.record(BREACH)
    await story.told()
    await story.record(KEPT)
    story.standin.fail("chat.postMessage", error="thread_not_found")
    await story.told()
    assert await story.told() == 0
    assert story.standin.replies == []


@pytest.mark.slow
async def test_a_webhook_posts_nothing_between_the_start_and_the_end_of_an_incident(
    db: Database, prefect: PrefectStandIn, passing_time: PassingTime, standin: SlackStandIn
) -> None:
    story = Thread(db, passing_time, standin, Webhook(standin.webhook_url))
    for each in (BREACH, WORSE, KEPT):
        await story.record(each)
        await story.told()
    assert [each["text"].split()[1] for each in standin.hooked] == ["Warning:", "Resolved:"]


# -- silence and acknowledge


@pytest.mark.slow
async def test_a_silenced_incident_gets_no_replies_until_the_silence_ends(
    story: Thread,
) -> None:
    await story.record(BREACH)
    await story.told()
    assert "is silenced until" in await story.handle("silence", 2)
    await story.tick()
    assert "by ada: a test" in shown(story.message.blocks)
    await story.record(WORSE)
    await story.tick()
    assert story.message.text.startswith(":red_circle: Critical")
    assert story.said == []
    story.time.passes(hours=2, minutes=1)
    for _ in range(3):
        await story.tick()
    (again,) = story.said
    assert again.startswith(":red_circle: Still open: It is slow. It was silenced until")
    await story.record(KEPT)
    await story.tick()
    assert len(story.said) == 2


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [{"lost": True}, {"status": 500}], ids=str)
async def test_an_unsure_post_of_an_incident_that_ends_in_silence_is_found_and_not_repeated(
    story: Thread, trouble: dict[str, Any]
) -> None:
    await story.record(BREACH)
    story.standin.fail("chat.postMessage", **trouble)
    await story.told()
    await story.handle("silence", 1)
    await story.record(KEPT)
    for _ in range(3):
        await story.told()
    story.time.passes(hours=1)
    await story.tick()
    assert [each.text[:10] for each in story.standin.messages] == [":white_che"] * (
        "lost" in trouble
    )
    assert story.said == [] if "lost" in trouble else story.standin.replies == []


@pytest.mark.slow
async def test_the_next_incident_of_a_silenced_kind_is_not_posted_but_other_incidents_are(
    story: Thread,
) -> None:
    await story.record(BREACH)
    await story.handle("silence", 24)
    await story.tick()
    await story.record(KEPT)
    await story.tick()
    assert story.standin.messages == []
    await story.record(BREACH)
    await story.record(replace(BREACH, workload="bills"))
    await story.tick()
    assert "bills" in story.message.text
    story.time.passes(hours=24)
    await story.tick()
    await story.tick()
    assert len(story.standin.messages) == 2  # the second incident of the kind is still open
    assert story.standin.replies == []


@pytest.mark.slow
async def test_an_acknowledged_incident_reports_that_it_worsens_and_reports_again_afterwards(
    story: Thread,
) -> None:
    await story.record(BREACH)
    await story.told()
    await story.handle("acknowledge", 1)
    await story.record(WORSE)
    await story.tick()
    await story.tick()
    assert [each.split(": ")[1] for each in story.said] == ["Critical now"]
    story.time.passes(hours=1)
    await story.tick()
    await story.tick()
    assert "It was acknowledged until" in story.said[1]
    assert len(story.said) == 2


@pytest.mark.slow
async def test_a_webhook_posts_an_incident_again_once_its_acknowledgement_has_expired(
    db: Database, prefect: PrefectStandIn, passing_time: PassingTime, standin: SlackStandIn
) -> None:
    story = Thread(db, passing_time, standin, Webhook(standin.webhook_url))
    await story.record(BREACH)
    await story.tick()
    await story.handle("acknowledge", 1)
    await story.tick()
    story.time.passes(hours=1)
    for _ in range(3):
        await story.tick()
    assert [each["text"].split()[1] for each in standin.hooked] == ["Warning:", "Warning:"]


async def test_only_an_open_incident_of_the_workload_can_be_handled(story: Thread) -> None:
    await story.record(BREACH)
    for wrong in ({"incident": 2_000_000_000}, {"workload": "bills"}):
        with pytest.raises(ActionRefused, match="`lanes alerts` lists those that are"):
            await story.handle("silence", 1, **wrong)


# -- grouping


async def test_the_message_of_a_cause_counts_the_incidents_that_it_explains(story: Thread) -> None:
    cause = frozen("acme", 3, "401: bad key")
    parent = await story.db.run(incidents.open, cause, now=await story.db.now())
    await story.told()
    for name in ("a", "b"):
        breach, now = replace(BREACH, workload=name), await story.db.now()
        await story.db.run(incidents.open, breach, parent_id=parent, now=now)
    story.time.passes(minutes=5)
    await story.told()
    assert "Explains  2 other incidents:\n- a: Real-time is slow - b: " in shown(
        story.message.blocks
    )
    assert story.said == []


# -- severity decides the channel


@pytest.mark.slow
async def test_severity_decides_the_channel_and_a_pointer_leads_to_an_incident_that_became_critical(
    story: Thread, standin: SlackStandIn
) -> None:
    standin.channels["#oncall"] = "C0ONCALL1"
    channels = {Severity.CRITICAL: "#oncall"}
    story.messenger = Bot(TOKEN, CHANNEL, standin.api_url, channels)
    await story.record(BREACH)
    await story.record(replace(WORSE, workload="bills"))
    await story.told()
    assert {each.channel for each in standin.messages} == {CHANNEL_ID, "C0ONCALL1"}
    await story.record(WORSE)
    await story.told()
    (pointer,) = [each for each in standin.messages if "incident_id" not in each.payload]
    assert pointer.channel == "C0ONCALL1"
    assert f"told in <#{CHANNEL_ID}>" in shown(pointer.blocks)
    ((_, reply),) = standin.replies
    assert reply.channel == CHANNEL_ID


@pytest.mark.slow
async def test_a_message_refused_by_the_channel_of_its_severity_goes_to_the_default_channel(
    story: Thread, standin: SlackStandIn
) -> None:
    story.messenger = Bot(TOKEN, CHANNEL, standin.api_url, {Severity.CRITICAL: "#oncall"})
    standin.fail("chat.postMessage", error="channel_not_found")
    await story.record(WORSE)
    assert await story.told() == 1
    assert story.message.channel == CHANNEL_ID


@pytest.mark.slow
@pytest.mark.parametrize("worsens", [False, True])
async def test_an_unsure_post_is_searched_for_in_the_channel_of_its_severity(
    story: Thread, standin: SlackStandIn, worsens: bool
) -> None:
    standin.channels["#oncall"] = "C0ONCALL1"
    story.messenger = Bot(TOKEN, CHANNEL, standin.api_url, {Severity.CRITICAL: "#oncall"})
    await story.record(replace(BREACH, workload="bills"))
    await story.told()
    if worsens:  # then a message in the default channel shows a critical incident
        await story.record(replace(WORSE, workload="bills"))
        await story.told()
    standin.fail("chat.postMessage", lost=True)
    await story.record(WORSE)
    await story.told()
    await story.told()
    assert len([each for each in standin.messages if "incident_id" in each.payload]) == 2


def test_the_channels_of_severities_are_read_from_the_setting(
    standin: SlackStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_CHANNELS", "critical=#oncall,digest=C0NEWS001")
    named = Settings.read().slack_channels
    slack = SlackChannel(bot_token=SecretStr(TOKEN), channel=CHANNEL, channels=named).connect()
    assert slack is not None
    assert [slack.channel_of(each) for each in Severity] == ["C0NEWS001", CHANNEL, "#oncall"]
    for wrong in ("#oncall", "critical=", "urgent=#a", "critical=#a,,digest=#b"):
        monkeypatch.setenv("SLACK_CHANNELS", wrong)
        with pytest.raises(ValidationError, match="SLACK_CHANNELS"):
            Settings.read()


# -- rollouts


async def rollout(story: Thread) -> Rollout:
    """Start a rollout of three steps."""
    now = await story.db.now()
    await story.db.run(publish, now=now)
    steps = playbook(step(10), step(50, approval=True), step(100))
    by = Signature("ada", "trial", now)
    whose = {"name": "letters", "consumer": None, "by": by, "run_id": None}
    return await story.db.run(rollout_moves.start, steps, **whose)


async def moves(story: Thread, move: Any) -> None:
    """Apply this move to the open rollout."""
    of = await story.db.run(rollouts.read_open, "letters")
    assert of is not None
    await story.db.run(rollout_moves.apply, of, move, [], now=await story.db.now())


def of_rollout(standin: SlackStandIn) -> PostedMessage:
    """Return the one message of a rollout."""
    (only,) = [each for each in standin.messages if each.text.startswith("Rollout")]
    return only


@pytest.mark.slow
async def test_a_rollout_is_one_message_with_its_progress_and_a_reply_for_each_event(
    story: Thread, standin: SlackStandIn
) -> None:
    await rollout(story)
    await story.told()
    await moves(story, Advance("every gate passed at 10 %"))
    await moves(story, AskApproval("every gate passed at 50 %"))
    for _ in range(3):
        await story.told()
    root = of_rollout(standin)
    assert "▶ 2 █████░░░░░    50 %  waits for approval" in shown(root.blocks)
    await moves(story, RollBack("error_rate failed"))
    for _ in range(3):
        await story.told()
    assert "rolled back" in root.text
    replies = [each for thread, each in standin.replies if thread == root.ts]
    assert [each.text.split(" (")[0] for each in replies] == [
        "Started",
        "Stepped",
        "Approval asked",
        "Rolled back",
    ]
    assert await story.told() == 0


async def test_the_message_of_a_rollout_is_posted_once_even_if_the_process_dies(
    story: Thread, standin: SlackStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise RuntimeError

    await rollout(story)
    with monkeypatch.context() as patched:
        patched.setattr(deliver.slack_outbox, "note_shown", dies)
        with pytest.raises(RuntimeError):
            await story.told()
    for _ in range(3):
        await story.told()
    root = of_rollout(standin)
    assert [thread for thread, _ in standin.replies] == [root.ts]


@pytest.mark.slow
async def test_an_event_between_the_look_and_its_record_is_posted_too(
    story: Thread, standin: SlackStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rollout(story)
    real = deliver._place

    async def meanwhile(*given: Any) -> Any:
        if given[1].rollout_id is not None and not standin.messages:
            await moves(story, Advance("every gate passed at 10 %"))
        return await real(*given)

    monkeypatch.setattr(deliver, "_place", meanwhile)
    for _ in range(3):
        await story.told()
    assert "▶ 2" in shown(of_rollout(standin).blocks)
    assert [each.text.split(" (")[0] for _, each in standin.replies] == ["Started", "Stepped"]


async def test_a_webhook_posts_nothing_about_a_rollout(
    db: Database, prefect: PrefectStandIn, passing_time: PassingTime, standin: SlackStandIn
) -> None:
    story = Thread(db, passing_time, standin, Webhook(standin.webhook_url))
    await rollout(story)
    await story.told()
    assert (standin.hooked, standin.messages) == ([], [])


# -- the daily digest


@pytest.fixture
def delivering(story: Thread, standin: SlackStandIn, monkeypatch: pytest.MonkeyPatch) -> Thread:
    """Return a stand with a Slack, whose digest is due at midnight."""

    async def connected() -> Bot:
        return Bot(TOKEN, CHANNEL, standin.api_url, {Severity.DIGEST: "#news"})

    standin.channels["#news"] = "C0NEWS001"
    monkeypatch.setenv("LANES_DIGEST_HOUR", "0")
    monkeypatch.setattr(deliver, "_messenger", connected)
    return story


@pytest.mark.slow
async def test_the_digest_is_posted_once_a_day_in_its_channel_from_the_second_day_on(
    delivering: Thread, standin: SlackStandIn
) -> None:
    db = delivering.db
    await db.run(publish, now=await db.now())
    await deliver_posts(db)
    assert standin.messages == []
    delivering.time.passes(days=1)
    minor = replace(BREACH, workload="*")
    await db.run(incidents.open, minor, now=await db.now())
    await db.run(lambda c: c.execute(text("update lanes.incident set severity = 'digest'")))
    await db.run(lambda c: c.execute(text("delete from lanes.slack_post")))
    for _ in range(3):
        await deliver_posts(db)
    (told,) = standin.messages
    assert told.channel == "C0NEWS001"
    assert told.text.startswith("Lanes on ")
    assert "1 opened, 0 ended, 1 open." in shown(told.blocks)
    assert "digest, every workload: Real-time is slow. It is slow." in shown(told.blocks)
    delivering.time.passes(days=1)
    for _ in range(2):
        await deliver_posts(db)
    assert len(standin.messages) == 2


@pytest.mark.slow
async def test_without_slack_the_digest_of_the_day_is_skipped_and_not_posted_later(
    delivering: Thread, standin: SlackStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def away() -> None:
        asked.append(1)

    db = delivering.db
    await db.run(publish, now=await db.now() - timedelta(days=2))
    with monkeypatch.context() as patched:
        patched.setattr(deliver, "_messenger", away)
        for _ in range(3):
            await deliver_posts(db)
    assert len(asked) == 1  # the block is not read at every look
    await deliver_posts(db)
    assert standin.messages == []


# -- jobs


class JobThread(Thread):
    """Jobs and everything that is posted to Slack."""

    shown: list[str]

    async def begins(self, items: int = 100, *, job: str = "mine") -> None:
        """Admit `items` items of a job, which wait."""
        keys = [f"{job} {number}" for number in range(items)]
        await self.db.run(admit, *keys, now=await self.db.now(), job=job)

    async def cancels(self, job: str = "mine") -> None:
        """Cancel the open items of the job, and let a quiet minute pass."""
        await self.db.run(jobs.cancel, job, now=await self.db.now())
        self.time.passes(minutes=1)

    async def fails(self) -> None:
        """Let one more item of the job fail."""

        def one(connection: Connection, *, now: datetime) -> None:
            tries.save(
                connection,
                tries.tried(tries.claimed_item(connection, now=now, job="mine"), Outcome.POISON),
                now=now,
            )

        await self.db.run(one, now=await self.db.now())

    async def retried(self) -> None:
        """Retry the failed item, as a person does."""
        assert await self.db.run(jobs.retry, "mine", now=await self.db.now()) == 1

    async def sweeps(self, seconds: float = 0) -> None:
        """Advance the clock, let `collect` sweep, and deliver everything that is due then."""
        self.time.passes(seconds=seconds)
        now, background = await self.db.now(), BackgroundRequests()
        await sweep.finish_jobs(self.db, background, JobPages(), now)
        await sweep.show_jobs(self.db, background, JobPages(), now)
        await background.wait()
        for _ in range(2):
            await send(self.db, self.messenger, ui_url=UI)

    @property
    def replied(self) -> list[str]:
        """Return the texts of the replies in the threads of messages."""
        roots = {each.ts for each in self.standin.messages}
        assert {thread for thread, _ in self.standin.replies} <= roots
        return [each.text for _, each in self.standin.replies]


@pytest.fixture
async def thread(
    db: Database,
    prefect: PrefectStandIn,
    passing_time: PassingTime,
    standin: SlackStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> JobThread:
    """Return a stand with a channel for digests, whose pages only the test sees."""
    it = JobThread(db, passing_time, standin)
    it.shown = []

    async def written(_: JobPages, of: JobStatus, now: datetime) -> None:
        it.shown.append(f"{of.job} {of.state}")

    monkeypatch.setattr(JobPages, "write", written)
    standin.channels["#news"] = "C0NEWS001"
    it.messenger = Bot(TOKEN, CHANNEL, standin.api_url, {Severity.DIGEST: "#news"})
    await db.run(publish, now=await db.now(), max_failures=1)
    return it


@pytest.mark.slow
async def test_a_job_is_one_message_edited_once_a_minute_with_a_reply_at_each_end(
    thread: JobThread, standin: SlackStandIn
) -> None:
    await thread.begins(99)
    await thread.fails()
    for _ in range(9):  # two minutes
        await thread.sweeps(seconds=15)
    (root,) = standin.messages
    assert root.channel == "C0NEWS001"
    assert len(root.edits) == 2
    assert root.text == "Job mine of letters is open: 1 of 100 items over (99 waiting, 1 failed)"
    assert f"{'░' * 40} 1 % no longer wait" in shown(root.blocks)
    assert "Cost: " in shown(root.blocks)
    assert thread.replied == []
    await thread.cancels()
    for _ in range(3):
        await thread.sweeps(seconds=60)
    assert root.text == "Job mine of letters is done: 100 of 100 items over (1 failed, 99 canceled)"
    assert thread.replied == ["All done: 100 of 100 items over (1 failed, 99 canceled)"]
    await thread.retried()
    await thread.sweeps(seconds=60)
    assert "is open" in root.text
    await thread.cancels()
    for _ in range(3):
        await thread.sweeps(seconds=60)
    assert len(thread.replied) == 2
    assert standin.messages == [root]


async def test_the_reply_at_the_end_says_why_items_failed(
    thread: JobThread, standin: SlackStandIn
) -> None:
    await thread.begins()
    await thread.sweeps()
    fail = text("update lanes.item set failed_at = received_at, failure = 'no schema'")
    await thread.db.run(lambda c: c.execute(fail))
    await thread.sweeps(seconds=60)
    assert thread.replied == ["All done: 100 of 100 items over (100 failed)"]
    assert "- 100 items failed: no schema" in shown(standin.replies[0][1].blocks)


async def test_a_job_that_ended_before_a_look_is_one_message(
    thread: JobThread, standin: SlackStandIn
) -> None:
    await thread.begins()
    await thread.db.run(jobs.cancel, "mine", now=await thread.db.now())
    await thread.sweeps()
    assert standin.messages == []
    for _ in range(3):
        await thread.sweeps(seconds=60)
    (told,) = standin.messages
    assert told.channel == "C0NEWS001"
    assert told.text == "Job mine of letters is done: 100 of 100 items over (100 canceled)"
    assert (told.edits, thread.replied) == ([], [])
    assert thread.shown.count("mine done") == 1


async def test_a_small_job_has_a_page_and_no_message(
    thread: JobThread, standin: SlackStandIn
) -> None:
    await thread.begins(99)
    await thread.sweeps()
    await thread.cancels()
    for _ in range(2):
        await thread.sweeps(seconds=60)
    assert standin.messages == []
    assert thread.shown == ["mine open", "mine done"]


@pytest.mark.slow
async def test_a_webhook_posts_one_message_at_each_end_of_a_job(
    thread: JobThread, standin: SlackStandIn
) -> None:
    thread.messenger = Webhook(standin.webhook_url)
    await thread.begins(99)
    for _ in range(5):
        await thread.sweeps(seconds=30)
    assert standin.hooked == []
    await thread.fails()
    await thread.cancels()
    for _ in range(3):
        await thread.sweeps(seconds=60)
    (told,) = standin.hooked
    assert told["text"].endswith("is done: 100 of 100 items over (1 failed, 99 canceled)")
    await thread.retried()
    await thread.sweeps(seconds=60)
    await thread.cancels()
    await thread.sweeps()
    assert len(standin.hooked) == 2
    assert (standin.messages, standin.replies) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("refused", [False, True])
async def test_a_post_of_a_job_without_an_answer_is_searched_for_and_never_repeated(
    thread: JobThread, standin: SlackStandIn, ends: bool, refused: bool
) -> None:
    if refused:  # by the channel of digests; the post goes to the default channel instead
        standin.fail("chat.postMessage", error="is_archived")
    standin.fail("chat.postMessage", lost=True)
    await thread.begins()
    await thread.sweeps()
    if ends:
        await thread.cancels()
    for _ in range(4):
        await thread.sweeps(seconds=60)
    (root,) = standin.messages
    assert ("is done" in root.text) is ends
    assert thread.replied == ["All done: 100 of 100 items over (100 canceled)"] * ends


async def test_a_reply_of_a_job_without_an_answer_is_not_repeated(
    thread: JobThread, standin: SlackStandIn
) -> None:
    await thread.begins()
    await thread.sweeps()
    await thread.cancels()
    standin.fail("chat.postMessage", lost=True)
    for _ in range(4):
        await thread.sweeps(seconds=60)
    assert len(thread.replied) == 1


@pytest.mark.slow
async def test_an_end_between_the_look_and_its_record_is_posted_too(
    thread: JobThread, standin: SlackStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    await thread.begins()
    await thread.sweeps()
    real, ended = deliver._place, list[int]()

    async def meanwhile(*given: Any) -> Any:
        if given[1].job_id is not None and not ended:
            ended.append(1)
            await thread.cancels()
            now, background = await thread.db.now(), BackgroundRequests()
            await sweep.finish_jobs(thread.db, background, JobPages(), now)
            await background.wait()
        return await real(*given)

    monkeypatch.setattr(deliver, "_place", meanwhile)
    for _ in range(3):
        await thread.sweeps(seconds=60)
    assert "is done" in standin.messages[0].text
    assert len(thread.replied) == 1


@pytest.mark.slow
async def test_only_the_newest_open_jobs_have_a_message(
    thread: JobThread, standin: SlackStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "SHOWN_JOBS", 2)
    for name in ("a", "b", "c"):
        await thread.begins(job=name)
    await thread.sweeps()
    assert {each.text.split()[1] for each in standin.messages} == {"b", "c"}


async def test_without_slack_an_open_job_is_looked_at_no_more_than_once_a_minute(
    thread: JobThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def away() -> None:
        asked.append(1)

    monkeypatch.setattr(deliver, "_messenger", away)
    monkeypatch.setenv("LANES_DIGEST_HOUR", "23")
    await thread.begins()
    for _ in range(9):  # two minutes
        now, background = await thread.db.now(), BackgroundRequests()
        await sweep.show_jobs(thread.db, background, JobPages(), now)
        await background.wait()
        await deliver_posts(thread.db)
        thread.time.passes(seconds=15)
    assert len(asked) == 3
