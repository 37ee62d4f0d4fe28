"""Real-time replays: they yield to live work, do not count as load, can be paused, and shadow later items."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.doors.item import Amendment
from lanes.errors import ActionRefused
from lanes.packing import ClaimedWork
from lanes.rollouts.replays import Generation, Selection
from lanes.store import work
from lanes.store.doors import items
from lanes.store.realtime import load
from lanes.store.replays import promotions, replays
from lanes.store.routing import second_look
from lanes.store.workload.accounts import LaneAccount
from lanes.words import Lane, ReplayState
from lanes.workload.version import Version
from tests.conftest import later
from tests.examples import admit, route
from tests.store.replays.test_replays import AT, KEYS, begin, letters, read, settle
from tests.store.tries import B, claim, row, rows, save, submit, tried

__all__ = ["letters"]
IN_REALTIME = Selection(force=True, lane="realtime")
DAYS_LATER = later(days=40)


def begun(connection: Connection) -> Generation:
    settle(connection, *KEYS)
    return read(connection, begin(connection, selection=IN_REALTIME))


def keys(claimed: Sequence[ClaimedWork]) -> list[str]:
    return [each.key for each in claimed]


def test_a_real_time_replay_is_answered_by_a_drain_and_can_be_promoted(
    connection: Connection, letters: Version
) -> None:
    of = begun(connection)
    save(connection, *(tried(each, output=B, at=AT) for each in claim(connection, now=AT)), now=AT)
    assert [each.state for each in replays.finish(connection, now=AT)] == [ReplayState.COMPLETE]
    assert {(each.lane, each.generation) for each in rows(connection, "result", generation=1)} == {
        ("realtime", of.number)
    }
    assert promotions.promote(connection, "letters", now=AT)[1] == len(KEYS)
    assert {each.output["category"] for each in rows(connection, "current_results")} == {"b"}


def test_live_work_is_claimed_before_replay_work_of_any_age(connection: Connection) -> None:
    begun(connection)
    admit(connection, "new", now=DAYS_LATER, lane=Lane.REALTIME)
    route(connection, now=DAYS_LATER)
    claimed = claim(connection, now=DAYS_LATER)
    assert keys(claimed) == ["new", *KEYS]
    assert [each.measures for each in claimed] == [False, True, True, True, True]
    assert not any(each.travels_alone for each in claimed), "its items may share calls"


def test_router_scaler_and_shedder_do_not_count_a_replay_as_load(connection: Connection) -> None:
    begun(connection)
    assert load.snapshot(connection, LaneAccount("acme"), now=AT).queues == []
    assert load.backlog(connection, Lane.REALTIME, now=AT).ready == 0
    assert second_look.queue_lengths(connection, ["letters"], now=AT) == {"letters": 0}
    assert second_look.queue_tail(connection, ["letters"], now=AT).waiting == []
    claim(connection, now=AT)
    assert load.snapshot(connection, LaneAccount("acme"), now=AT).queues == []


@pytest.mark.parametrize("lane", Lane)
def test_a_paused_replay_asks_nothing_until_it_is_resumed(
    connection: Connection, letters: Version, lane: Lane
) -> None:
    settle(connection, *KEYS)
    of = read(connection, begin(connection, selection=Selection(force=True, lane=lane.value)))
    assert "`lanes resume letters --replay`" in promotions.pause(connection, "letters", now=AT)
    assert row(connection, "replay_log").paused_at == AT
    assert row(connection, "replay_log").open == len(KEYS)
    assert rows(connection, "work", state="ready") == []
    assert replays.finish(connection, now=AT) == []
    with pytest.raises(ActionRefused, match="is paused"):
        begin(connection)
    with pytest.raises(ActionRefused, match="is paused"):
        promotions.promote(connection, "letters", now=AT)
    items.amend(connection, Amendment("letters", "a", {"text": "n"}), door="client", now=AT)
    promotions.hold(connection, now=AT)  # the work of the amended item, too
    assert rows(connection, "work", state="ready", purpose="replay") == []
    assert "goes on" in promotions.resume(connection, "letters", now=AT + timedelta(hours=1))
    with pytest.raises(ActionRefused, match="is not paused"):
        promotions.resume(connection, "letters", now=AT)
    ready = rows(connection, "work", state="ready", purpose="replay")
    assert {(each.lane, each.claimed_by) for each in ready} == {(lane, None)}
    assert len(ready) == of.items == len(KEYS)


def test_a_pause_stops_the_reading_of_a_replay_and_a_resume_continues_it(
    connection: Connection,
) -> None:
    settle(connection, *KEYS)
    of = replays.read_some(connection, begin(connection).id, limit=1, now=AT)
    promotions.pause(connection, "letters", now=AT)
    assert replays.read_some(connection, of.id, now=AT).cursor_position == of.cursor_position
    assert "ask for the same replay again" in promotions.resume(connection, "letters", now=AT)
    assert read(connection, begin(connection)).items == len(KEYS)


def test_work_of_a_paused_replay_never_becomes_a_lost_claim(connection: Connection) -> None:
    begun(connection)
    promotions.pause(connection, "letters", now=AT)
    lapsed = "select count(*) from lanes.work where state = 'claimed' and lease_until < :then"
    then = {"then": AT + timedelta(days=365)}
    assert connection.execute(text(lapsed), then).scalar_one() == 0
    assert len(rows(connection, "work", state="claimed")) == len(KEYS)


def test_only_a_running_replay_can_be_paused(connection: Connection) -> None:
    with pytest.raises(ActionRefused, match="was never replayed"):
        promotions.pause(connection, "letters", now=AT)
    of = begun(connection)
    promotions.drop(connection, "letters", now=AT)
    with pytest.raises(ActionRefused, match=f"{of.name} is dropped: only a running"):
        promotions.pause(connection, "letters", now=AT)


def test_a_replay_dropped_while_paused_cannot_be_resumed(
    connection: Connection,
) -> None:
    begun(connection)
    promotions.pause(connection, "letters", now=AT)
    promotions.drop(connection, "letters", now=AT)
    with pytest.raises(ActionRefused, match="is not paused"):
        promotions.resume(connection, "letters", now=AT)


def test_work_of_a_replay_that_is_being_resumed_is_not_held(
    connection: Connection, pool: Engine
) -> None:
    begun(connection)
    promotions.pause(connection, "letters", now=AT)
    items.amend(connection, Amendment("letters", "a", {"text": "n"}), door="client", now=AT)
    connection.commit()
    with pool.begin() as duty, pool.begin() as person:
        promotions.resume(person, "letters", now=AT)
        promotions.hold(duty, now=AT)
    assert rows(connection, "work", claimed_by=promotions.HELD) == []


def test_a_preview_estimates_when_a_replay_ends_on_each_lane(connection: Connection) -> None:
    settle(connection, *KEYS)
    asked = {"version_no": None, "first": None, "last": None, "selection": IN_REALTIME}
    seen = replays.preview(connection, "letters", **asked, now=AT)
    assert (seen.items, seen.probability) == (len(KEYS), 0.95)
    assert AT < seen.ends[Lane.REALTIME] < seen.ends[Lane.BATCH]
    busy = (
        "insert into lanes.figure (grain, at, workload, lane, purpose, kind, word, n) "
        "values ('hour', date_trunc('hour', cast(:at as timestamptz)) - interval '1 hour', 'letters', 'realtime', 'answer', "
        "'attempt', 'valid', 100000000)"
    )
    connection.execute(text(busy), {"at": AT})
    assert Lane.REALTIME not in replays.preview(connection, "letters", **asked, now=AT).ends


def test_a_replay_shadows_later_items_until_its_promotion_and_never_shows_the_shadows(
    connection: Connection, letters: Version
) -> None:
    settle(connection, *KEYS)
    of = read(connection, begin(connection, selection=Selection(force=True, shadow=1)))
    settle(connection, "later")
    replays.shadow(connection, now=AT)
    replays.shadow(connection, now=AT)
    _, waiting = submit(connection, letters, now=AT)
    assert keys(waiting) == [*KEYS, "later"]
    save(connection, *(tried(each, output=B, at=AT) for each in waiting), now=AT)
    settle(connection, "last")
    replays.shadow(connection, now=AT)
    assert [each.id for each in replays.finish(connection, now=AT)] == [of.id], "a shadow is open"
    assert promotions.compare(connection, replays.get(connection, of.id)).items == len(KEYS) + 1
    assert promotions.promote(connection, "letters", now=AT)[1] == len(KEYS)
    assert rows(connection, "work", state="ready") == []
    shown = {each.key: each.generation for each in rows(connection, "current_results")}
    assert shown == dict.fromkeys(KEYS, 1) | {"later": 0, "last": 0}


@pytest.mark.slow
def test_a_replay_that_is_being_dropped_creates_no_more_shadows(
    connection: Connection, pool: Engine
) -> None:
    settle(connection, *KEYS)
    read(connection, begin(connection, selection=Selection(force=True, shadow=1)))
    settle(connection, "later")
    connection.commit()
    with ThreadPoolExecutor(1) as beside, pool.connect() as person, pool.connect() as duty:
        promotions.drop(person, "letters", now=AT)
        shadowing = beside.submit(replays.shadow, duty, now=AT)
        wait([shadowing], timeout=0.5)
        person.commit()
        shadowing.result(timeout=20)
        duty.commit()
    assert rows(connection, "work", state="ready", purpose="replay") == []


def test_a_replay_shadows_about_the_requested_share_of_later_items(connection: Connection) -> None:
    settle(connection, *KEYS)
    read(connection, begin(connection, selection=Selection(force=True, shadow=0.5)))
    settle(connection, *(f"n{number}" for number in range(100)))
    replays.shadow(connection, now=AT)
    owed = len(rows(connection, "work", purpose="replay")) - len(KEYS)
    assert 25 < owed < 75


def test_a_claim_bounded_by_rank_finds_no_replay_work(connection: Connection) -> None:
    begun(connection)
    before = AT + timedelta(hours=12)
    assert work.read_waiting(connection, Lane.REALTIME, before=before, now=AT).versions == {}
    within = work.ClaimBounds(before=before)
    asked = {"worker": "w", "lease": timedelta(seconds=20), "now": AT}
    found = work.claim(connection, Lane.REALTIME, {"letters": 9}, within=within, **asked)
    assert found == []
    assert len(work.claim(connection, Lane.REALTIME, {"letters": 9}, **asked)) == len(KEYS)
