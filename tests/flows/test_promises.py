"""Incidents in Slack: one message per incident through every kind of failure, and a watch that no failure stops;
one file because all are scenes of one watch and one Slack."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, text

from blocks.slack_channel import SlackChannel
from lanes.promises.assessment import Assessment
from lanes.promises.incident import EVERYBODY, Promise
from lanes.slack.messenger import Bot, DeliveryError, Messenger, Webhook
from lanes.slack.wording import trial
from lanes.standing import runs
from lanes.store import incidents
from lanes.store.database import Database
from lanes.store.doors import items
from lanes.store.promises import briefings
from lanes.store.promises.slack_outbox import MOST, list_untold
from lanes.words import Lane, Outcome, Verdict
from tasks import watch
from tasks.background import closing
from tasks.deliver import tell
from tasks.pages import LookupLimits
from tasks.publish import publish as blocks_published
from tasks.watch import Watcher
from tests.conftest import NOON
from tests.examples import admit, publish, route, spec
from tests.passing_time import PassingTime
from tests.prefect_standin import BLOCK, PROVIDER_BLOCK, PrefectStandIn
from tests.slack_standin import (
    CHANNEL,
    CHANNEL_ID,
    TOKEN,
    PostedMessage,
    SlackStandIn,
    rich_texts,
    shown,
)
from tests.store.tries import claim, save, tried

BREACH = Assessment(Promise.REALTIME_SLOW, "letters", Verdict.FAILED, 7.5, 5, 40, "It is slow.")
KEPT = replace(BREACH, verdict=Verdict.PASSED, value=1, sentence="It is fast again.")
UI = "http://prefect.example"


@pytest.fixture
def db(db: Database, prefect: PrefectStandIn) -> Database:
    """Return the database, with a Prefect server of the test's own."""
    return db


class Story:
    """An incident in the database and its messages in Slack."""

    def __init__(
        self,
        db: Database,
        time: PassingTime,
        standin: SlackStandIn,
        messenger: Messenger | None = None,
    ) -> None:
        self.db, self.time, self.standin = db, time, standin
        self.messenger = messenger or Bot(TOKEN, CHANNEL, standin.api_url)
        self.limits = LookupLimits()

    async def record(self, assessment: Assessment) -> None:
        if assessment.ends:
            self.time.passes(seconds=assessment.stays.total_seconds())
        await self.db.run(incidents.record, [assessment], now=await self.db.now())

    async def told(self) -> int:
        """Post or edit messages once every back-off has passed; return how many."""
        until = await self.db.run(
            lambda c: c.execute(text("select max(next_try_at) from lanes.slack_post")).scalar_one()
        )
        self.time.passes(seconds=max(0.0, (until - await self.db.now()).total_seconds()))
        return await tell(self.db, self.messenger, ui_url=UI, limits=self.limits)

    async def post(self) -> Any:
        return await self.db.run(lambda c: c.execute(text("select * from lanes.slack_post")).one())

    @property
    def message(self) -> PostedMessage:
        (only,) = self.standin.messages
        return only


@pytest.fixture
def story(db: Database, passing_time: PassingTime, standin: SlackStandIn) -> Story:
    return Story(db, passing_time, standin)


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


async def test_a_changed_figure_edits_the_message_and_the_end_reports_the_last_figure(
    story: Story,
) -> None:
    failing = Assessment(
        Promise.REALTIME_FAILING, "letters", Verdict.FAILED, 100, 5, 24, "24 of 24 attempts failed."
    )
    await story.record(failing)
    await story.told()
    worse = replace(failing, samples=935, sentence="935 of 935 attempts failed.")
    await story.record(worse)
    # A changed figure alone edits the message at most every five minutes.
    assert await story.told() == 0
    story.time.passes(minutes=5)
    assert await story.told() == 1
    assert "935 of 935" in story.message.text
    await story.record(
        replace(failing, verdict=Verdict.PASSED, value=1, sentence="1 of 100 attempts failed.")
    )
    await story.told()
    said = f"{story.message.text} {story.message.blocks}"
    assert "1 of 100 attempts failed." in said
    assert "935 of 935" not in said  # a time may contain these digits
    assert "100 %" not in said


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 500},
        {"status": 503},
        {"status": 200, "error": "not_in_channel"},
        {"status": 429, "retry_after": 60},
        {"status": 429, "retry_after": 0},
        {"status": 200, "error": "invalid_auth"},
        {"lost": True},
    ],
    ids=str,
)
async def test_after_any_failure_of_the_first_post_there_is_one_message_in_the_end(
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


async def test_a_post_whose_process_died_before_it_received_the_answer_is_found_again(
    story: Story,
) -> None:
    await story.record(BREACH)
    await story.told()
    forgotten = (
        "update lanes.slack_post set ts = null, channel = null, posted_state = null, unsure = true"
    )
    await story.db.run(lambda c: c.execute(text(forgotten)))
    await story.told()
    assert len(story.standin.messages) == 1
    row = await story.post()
    assert (row.ts, row.channel, row.unsure) == (story.message.ts, CHANNEL_ID, False)


@pytest.mark.parametrize(
    "slow_by", [timedelta(minutes=5), timedelta(hours=3), timedelta(minutes=-5)], ids=str
)
async def test_a_post_with_an_unknown_outcome_is_found_whatever_the_clock_of_slack(
    db: Database, passing_time: PassingTime, slow_by: timedelta
) -> None:
    def slacks() -> datetime:
        return datetime.fromtimestamp(passing_time.of_host(), UTC) - slow_by

    standin = SlackStandIn(clock=slacks)
    story = Story(db, passing_time, standin)
    await story.record(BREACH)
    standin.fail("chat.postMessage", lost=True)
    await story.told()
    for number in range(450):
        standin.say(f"chatter {number}", at=slacks())
    await story.told()
    standin.stop()
    assert len([each for each in standin.messages if each.payload]) == 1
    assert (await story.post()).posted_state == "open"


@pytest.mark.slow
async def test_an_unsure_post_is_not_repeated_while_slack_cannot_be_asked(story: Story) -> None:
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


async def test_a_refused_post_is_stored_with_a_remedy_and_waits(story: Story) -> None:
    await story.record(BREACH)
    story.standin.fail("chat.postMessage", error="not_in_channel")
    await story.told()
    assert "invite it" in (await story.post()).last_error
    assert await tell(story.db, story.messenger, ui_url=UI) == 0
    assert story.standin.calls.count("chat.postMessage") == 1


@pytest.mark.slow
async def test_an_outage_of_slack_loses_nothing(
    db: Database, passing_time: PassingTime, standin: SlackStandIn
) -> None:
    gone = SlackStandIn()
    gone.stop()
    story = Story(db, passing_time, standin, Bot(TOKEN, CHANNEL, gone.api_url))
    await story.record(BREACH)
    assert await story.told() == 0
    await story.record(KEPT)
    assert await story.told() == 0
    story.messenger = Bot(TOKEN, CHANNEL, standin.api_url)
    assert await story.told() == 1
    assert story.message.text.startswith(":white_check_mark: Resolved")


async def test_while_slack_is_unavailable_one_post_is_tried_and_the_others_wait(
    story: Story,
) -> None:
    for workload in ("letters", "bills", "notes"):
        await story.record(replace(BREACH, workload=workload))
    story.standin.fail("chat.postMessage", status=503)
    assert await story.told() == 0
    assert story.standin.calls == ["chat.postMessage"]
    assert await story.told() == 3
    assert len(story.standin.messages) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "webhook"),
    [
        pytest.param(MOST + 15, False, id="bot"),
        pytest.param(MOST + 15, True, id="webhook", marks=pytest.mark.slow),
        pytest.param(200, False, id="bot-200", marks=pytest.mark.slow),
        pytest.param(200, True, id="webhook-200", marks=pytest.mark.slow),
    ],
)
async def test_any_number_of_breaches_at_once_becomes_as_many_messages_within_slacks_limit(
    db: Database, passing_time: PassingTime, standin: SlackStandIn, webhook: bool, number: int
) -> None:
    story = Story(db, passing_time, standin, Webhook(standin.webhook_url) if webhook else None)
    breaches = [replace(BREACH, workload=f"letters-{n}") for n in range(number)]
    recorded = await db.run(incidents.record, breaches, now=await db.now())
    assert len(recorded.opened) == number
    standin.allow(30)  # of the next posts; the others must retry in a minute
    for _ in range(number // 30 + 1):
        await story.told()
        standin.allow(30)
    headings = (
        [each["text"] for each in standin.hooked]
        if webhook
        else [each.text for each in standin.messages]
    )
    assert len(headings) == len(set(headings)) == number
    standin.allow(None)
    assert await story.told() == 0


async def test_a_deleted_message_is_posted_again(story: Story) -> None:
    await story.record(BREACH)
    await story.told()
    story.standin.messages.clear()
    await story.record(KEPT)
    await story.told()
    await story.told()
    assert story.message.text.startswith(":white_check_mark: Resolved")


async def test_a_webhook_posts_one_message_at_the_start_and_one_at_the_end(
    db: Database, passing_time: PassingTime, standin: SlackStandIn
) -> None:
    story = Story(db, passing_time, standin, Webhook(standin.webhook_url))
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


def test_a_block_prefers_the_bot_and_connects_nothing_without_an_address(
    standin: SlackStandIn,
) -> None:
    token, url = SecretStr(TOKEN), SecretStr(standin.webhook_url)
    assert isinstance(
        SlackChannel(bot_token=token, channel=CHANNEL, webhook_url=url).connect(), Bot
    )
    assert isinstance(SlackChannel(bot_token=token, webhook_url=url).connect(), Webhook)
    assert SlackChannel(bot_token=token).connect() is None


def test_an_address_that_is_not_slacks_raises_a_delivery_error(standin: SlackStandIn) -> None:
    with pytest.raises(DeliveryError, match="check SLACK_WEBHOOK_URL"):
        Webhook(f"http://127.0.0.1:{standin.port}/api/other").post(trial(NOON, ui_url=UI))


async def test_a_watch_continues_while_slack_and_the_heartbeat_are_unavailable(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANES_HEARTBEAT_URL", "http://127.0.0.1:9/nobody")
    monkeypatch.setattr(watch, "deliver_posts", _away)
    async with closing(watch.Watcher(db, rest_per_work=0)) as watcher:
        await watcher.tick()
        first = await db.run(items.read_watermark, "watch")
        await watcher.tick()
    second = await db.run(items.read_watermark, "watch")
    assert first is not None
    assert second is not None
    assert second > first


async def test_each_evaluation_pings_the_heartbeat(
    db: Database, standin: SlackStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANES_HEARTBEAT_URL", f"http://127.0.0.1:{standin.port}/beat")
    monkeypatch.setattr(watch, "deliver_posts", _away)
    tireless, tired = Watcher(db, rest_per_work=0), Watcher(db, rest_per_work=1e6)
    # The last tick falls into the rest after the tick before it.
    for watcher in (tireless, tireless, tired, tired):
        await watcher.tick()
    for watcher in (tireless, tired):
        await watcher.close()
    assert standin.pinged == ["/beat", "/beat", "/beat"]


async def _away(*_: object) -> None:
    raise ConnectionError("nobody answers")


# -- what a message contains besides its sentence


RUN = UUID(int=7)


class FailedCalls(Story):
    """Thirty failed calls and the broken promise about them."""

    async def fail(self) -> None:
        now = await self.db.now()

        def happen(connection: Connection) -> None:
            publish(connection, now=now, max_failures=20)
            hostile = "the provider answered 500: <!channel> *Internal* error"
            errors = [hostile] * 20 + ["the provider answered 529: Overloaded"] * 10
            keys = [f"k{number}" for number in range(len(errors))]
            admit(connection, *keys, now=now, lane=Lane.REALTIME)
            route(connection, now=now)
            claims = claim(connection, now=now)
            attempts = [
                tried(one, Outcome.ERRORED, at=now, error=error)
                for one, error in zip(claims, errors, strict=True)
            ]
            save(connection, *attempts, now=now, flow_run_id=RUN)

        await self.db.run(happen)
        await watch.evaluate(self.db)

    async def mend(self) -> None:
        failing = Assessment(
            Promise.REALTIME_FAILING,
            "letters",
            Verdict.PASSED,
            1,
            5,
            40,
            "1 of 100 attempts failed.",
        )
        await self.record(failing)

    @property
    def failing(self) -> PostedMessage:
        (only,) = [
            each for each in self.standin.messages if each.payload["promise"] == "realtime_failing"
        ]
        return only


@pytest.fixture
def calls(db: Database, passing_time: PassingTime, standin: SlackStandIn) -> FailedCalls:
    return FailedCalls(db, passing_time, standin)


async def test_a_message_has_its_cause_and_its_links_and_the_resolved_message_keeps_the_cause(
    calls: FailedCalls, prefect: PrefectStandIn
) -> None:
    await calls.fail()
    await calls.told()
    read = shown(calls.failing.blocks)
    for part in (
        "20x the provider answered 500: <!channel> *Internal* error",
        "10x the provider answered 529: Overloaded",
        "in 30 attempts of the last 15 min",
        "30 unanswered items",
        f"{UI}/v2/runs/flow-run/{RUN}",
        "lanes explain letters k",
        f"{UI}/v2/artifacts/artifact/{prefect.artifacts[-1]['id']}",
        "[Move its traffic] http://prefect.example/v2/deploy",
        "/run?parameters=%7B%22split%22",
        "lanes pause letters",
    ):
        assert part in read, (part, read)
    assert "<!channel>" not in calls.failing.text  # only rich text shows mentions literally
    page = prefect.artifacts[-1]
    assert page["key"].startswith("lanes-incident-")
    assert "| 20 | the provider answered 500:" in page["data"]
    assert "\n[Move its traffic](/v2/deployments/deployment/" in page["data"]
    await calls.mend()
    await calls.told()
    read = shown(calls.failing.blocks)
    assert calls.failing.text.startswith(":white_check_mark: Resolved")
    assert "Cause  in 30 attempts of the last 15 min" in read
    assert "20x the provider answered 500" in read
    assert "How bad" not in read
    assert prefect.artifacts[-1]["description"].startswith("Resolved: ")


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["hangs", "answers 503"])
async def test_messages_are_posted_without_an_artifact_while_prefect_is_in_trouble(
    calls: FailedCalls, prefect: PrefectStandIn, trouble: str
) -> None:
    calls.limits = LookupLimits(question_s=0.3)
    prefect.hangs, prefect.status = trouble == "hangs", None if trouble == "hangs" else 503
    await calls.fail()
    for workload in ("bills", "notes", "drafts"):
        await calls.record(replace(BREACH, workload=workload))
    asked = len(prefect.requests)
    assert await calls.told() == 4
    # Prefect is not asked again for every message.
    assert len(prefect.requests) - asked <= 6
    read = shown(calls.failing.blocks)
    assert "20x the provider answered 500" in read
    assert "No artifact: Prefect could not be asked." in read


async def test_a_message_without_links_gets_them_once_prefect_answers_again(
    story: Story, prefect: PrefectStandIn
) -> None:
    await story.record(BREACH)
    prefect.status = 503
    for _ in range(2):
        story.time.passes(minutes=6)  # no measurement renews the incident meanwhile
        assert await story.told() == 1
        assert "No artifact: Prefect could not be asked." in shown(story.message.blocks)
    assert await story.told() == 0
    assert await story.db.run(list_untold) == {}
    prefect.status = None
    story.time.passes(minutes=6)
    assert await story.told() == 1
    assert "[Details]" in shown(story.message.blocks)
    story.time.passes(minutes=6)
    assert await story.told() == 0


async def test_an_error_in_the_lookup_of_the_cause_does_not_prevent_the_message(
    calls: FailedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("nobody foresaw it")

    await calls.fail()
    monkeypatch.setattr(briefings, "brief", broken)
    await calls.told()
    read = shown(calls.failing.blocks)
    assert "It could not be looked up (RuntimeError)." in read
    assert "17 of" not in read
    assert "30 of 30 attempts" in read


async def test_a_briefing_that_another_release_stored_does_not_prevent_the_message(
    calls: FailedCalls,
) -> None:
    await calls.fail()
    kept = """update lanes.incident set briefing = '{"causes": "many"}'"""
    await calls.db.run(lambda c: c.execute(text(kept)))
    await calls.told()
    assert "20x the provider answered 500" in shown(calls.failing.blocks)


async def test_a_message_beyond_the_time_limit_of_lookups_gets_its_details_later(
    calls: FailedCalls,
) -> None:
    calls.limits = LookupLimits(round_s=0)
    await calls.record(BREACH)
    await calls.fail()
    for sent in (2, 2, 1):
        assert await calls.told() == sent
        assert len(calls.standin.messages) == 2
        read = shown(calls.failing.blocks)
        unknown = "Not known: it could not be looked up (too many incidents at once)" in read
        assert unknown == (sent > 1)
        calls.time.passes(minutes=6)  # no measurement renews the incidents meanwhile
    assert "20x the provider answered 500" in read
    assert "could not be looked up" not in read
    assert await calls.told() == 0


async def test_a_message_states_a_cause_that_its_opener_encountered_without_any_lookup(
    calls: FailedCalls,
) -> None:
    calls.limits = LookupLimits(round_s=0)
    await calls.record(BREACH)
    await calls.record(replace(BREACH, workload="bills", why="the scanner is jammed"))
    await calls.told()
    read = shown(calls.standin.messages[-1].blocks)
    assert "the scanner is jammed" in read
    assert "Not known: it could not be looked up (too many incidents at once)" in read


async def never_started(story: Story) -> None:
    """Record an incident: items of a published workload wait, and no batch of them has departed."""
    late = Assessment(
        Promise.BATCH_NEVER_STARTED, "letters", Verdict.FAILED, 90, 10, 3, "3 items wait."
    )
    await story.db.run(publish, now=await story.db.now())
    await story.record(late)


async def test_a_batch_that_never_started_reports_how_the_newest_run_of_depart_ended(
    story: Story, prefect: PrefectStandIn
) -> None:
    await never_started(story)
    prefect.has_run("depart", "FAILED")
    prefect.runs[-1].message = "letters: the provider answered 401: bad key"
    await story.told()
    read = shown(story.message.blocks)
    assert (
        "the newest run of `depart` is Failed: letters: the provider answered 401: bad key" in read
    )
    assert f"{UI}/v2/runs/flow-run/{prefect.runs[-1].id}" in read
    assert "[Let it depart now]" in read


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("PAUSED", "is paused in Prefect"),
        ("NOT_READY", "no worker of the work pool `batch` is online"),
    ],
)
async def test_a_batch_that_never_started_reports_that_its_pool_runs_nothing_and_links_to_the_pool(
    story: Story, prefect: PrefectStandIn, status: str, why: str
) -> None:
    await never_started(story)
    prefect.has_run("depart", "COMPLETED")
    prefect.pools["batch"] = status
    await story.told()
    read = shown(story.message.blocks)
    assert why in read
    assert f"[Its work pool] {UI}/v2/work-pools/work-pool/batch" in read
    assert "[Its work pool](/v2/work-pools/work-pool/batch)" in prefect.artifacts[-1]["data"]


@pytest.mark.parametrize("paused", [True, False])
async def test_a_batch_that_never_started_reports_a_paused_deployment_or_an_inactive_schedule(
    story: Story, prefect: PrefectStandIn, paused: bool
) -> None:
    await never_started(story)
    prefect.has_run("depart", "COMPLETED")
    prefect.pools["batch"] = "READY"
    if paused:
        prefect.paused.add("depart")
    else:
        of_it = {"parameters": runs.depart("letters").parameters, "slug": "letters-nightly"}
        cron = {"cron": "0 22 * * *", "timezone": "UTC"}
        at = {"id": str(uuid4()), "active": False, "schedule": cron, **of_it}
        prefect.schedules["depart"] = [at]
    await story.told()
    said = (
        "the deployment `depart` is paused"
        if paused
        else "the schedule of `depart` for letters is inactive"
    )
    assert f"{said} in Prefect" in shown(story.message.blocks)


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("PAUSED", ("the work pool `batch` is paused in Prefect", "is Crashed: killed")),
        ("NOT_READY", ("no worker of the work pool `batch` is online", "is Crashed: killed")),
        ("READY", ("the newest run of `collect` is Crashed: killed",)),
    ],
)
async def test_batches_that_are_not_collected_report_why_and_link_to_an_action_that_collects_them(
    story: Story, prefect: PrefectStandIn, status: str, why: tuple[str, ...]
) -> None:
    stopped = Assessment(
        Promise.COLLECT_STOPPED, EVERYBODY, Verdict.FAILED, 25, 10, 1, "No run has looked."
    )
    await story.record(stopped)
    prefect.has_run("depart", "FAILED")
    prefect.has_run("collect", "CRASHED")
    prefect.runs[-1].message = "killed"
    prefect.pools["batch"] = status
    await story.told()
    read = shown(story.message.blocks)
    assert all(each in read for each in why)
    assert f"{UI}/v2/runs/flow-run/{prefect.runs[-1].id}" in read
    assert f"[Its work pool] {UI}/v2/work-pools/work-pool/batch" in read
    assert "[Let it collect now]" in read


@pytest.mark.parametrize(("account", "place"), [("acme-eu", 1), ("127.0.0.1", 0)])
async def test_a_refused_account_is_reported_with_a_link_to_its_own_block(
    story: Story, prefect: PrefectStandIn, account: str, place: int
) -> None:
    prefect.provider_blocks["eu"] = {"account": "acme-eu"}
    await story.record(
        replace(BREACH, promise=Promise.PROVIDER_FROZEN, workload=EVERYBODY, subject=account)
    )
    await story.told()
    block = UUID(int=PROVIDER_BLOCK.int + place)
    link = f"[Set the key, then `lanes up`] {UI}/v2/blocks/block/{block}/edit"
    assert link in shown(story.message.blocks)


async def test_an_invalid_block_is_reported_with_the_place_of_its_error_and_a_link_to_it(
    story: Story, prefect: PrefectStandIn
) -> None:
    prefect.blocks["letters"] = spec().model_dump(mode="json") | {
        "urgent_when": 'payload.channel = "chat"'
    }
    await blocks_published(story.db)
    await story.told()
    first = rich_texts(story.message.blocks[1])[0]
    assert first.startswith(
        "urgent_when, line 1, column 17: token recognition error at: '= '. The block of workload"
    )
    assert f"[Edit the workload] {UI}/v2/blocks/block/{BLOCK}/edit" in shown(story.message.blocks)
    prefect.blocks["letters"] = spec().model_dump(mode="json")
    await blocks_published(story.db)
    await story.told()
    assert story.message.text.startswith(":white_check_mark: Resolved")
    assert "urgent_when, line 1, column 17: token recognition error" in shown(story.message.blocks)
