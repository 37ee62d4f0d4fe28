"""Cost estimates use the present pack sizes and cache hit rates, which are read at most once in 30 s."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, text

from lanes.commands.preview import preview
from lanes.ids import VersionId
from lanes.money.estimates import Estimates, Sharing
from lanes.money.pack_size import PackDecision, PackPlace, PackSizes
from lanes.routing.shedding import Shed
from lanes.store.database import Database
from lanes.store.money import caching, sharing
from lanes.store.replays import replays
from lanes.store.routing import second_look
from lanes.store.settling import decisions
from lanes.store.tables import pack_size
from lanes.words import Lane
from lanes.workload.definition_file import render_definition
from lanes.workload.version import Version
from tasks.router import route_received
from tests.conftest import NOON, later
from tests.examples import admit, publish, route, spec, version
from tests.store.tries import intend, rows

LONG: dict[str, Any] = {
    "instructions": "Sort the letter by these rules. " * 600,
    "realtime_pack": 8,
    "batch_pack": 8,
}
CHARS = len('{"text": "help"}')


def shares(connection: Connection, of: Version) -> Sharing:
    """Decide on batch packs of two and a real-time hit rate of 0.9, and return the sharing that follows."""
    caching.weigh(connection, of, Lane.REALTIME, now=NOON)
    connection.execute(text("update lanes.caching set marks = 'all', hit_rate = 0.9"))
    place = PackPlace.of(of, Lane.BATCH)
    connection.execute(
        insert(pack_size).values(
            workload=of.workload,
            version_id=of.id,
            lane=place.lane,
            model=place.model,
            size=2,
            allowed=8,
            hurt=4,
            packed_n=9,
            packed_agreed=1,
            alone_n=9,
            alone_agreed=9,
            why="packs of 4 hurt",
            decided_at=NOON,
        )
    )
    return Sharing(PackSizes({place: PackDecision(2, 8, NOON)}), {(of.id, Lane.REALTIME): 0.9})


def test_sharing_is_read_once_in_30_seconds(connection: Connection) -> None:
    of = publish(connection, now=NOON, **LONG)
    assert sharing.read_cached(connection, now=NOON).pack_of(of, Lane.BATCH) == 8
    expected = shares(connection, of)
    assert sharing.read_cached(connection, now=later(seconds=29)).hit_rates == {}
    found = sharing.read_cached(connection, now=later(seconds=30))
    assert found.hit_rates == expected.hit_rates
    assert [found.pack_of(of, lane) for lane in (Lane.BATCH, Lane.REALTIME)] == [2, 8]


@pytest.mark.slow
async def test_routes_state_costs_at_the_present_sharing(db: Database) -> None:
    now = await db.now()

    def begin(connection: Connection) -> Estimates:
        of = publish(connection, now=now, **LONG)
        admit(connection, "k", now=now, payload={"text": "help"})
        return Estimates(now, shares(connection, of))

    estimates = await db.run(begin)
    assert await route_received(db) == 1
    (made,) = await db.run(lambda connection: rows(connection, "route"))
    of = version(id=made.version_id, **LONG)
    assert (made.realtime_usd, made.batch_usd) == _both(estimates, of)
    plain = Estimates(now).of(of, CHARS)
    assert made.realtime_usd < plain.realtime
    assert made.batch_usd > plain.batch


def test_shed_work_is_priced_at_the_present_sharing(connection: Connection) -> None:
    of = publish(connection, now=NOON, split_percent=100, **LONG)
    admit(connection, "k", now=NOON, payload={"text": "help"})
    route(connection, now=NOON)
    estimates = Estimates(NOON, shares(connection, of))
    (work,) = rows(connection, "work")
    assert (
        second_look.shed(
            connection, {work.id: Shed("the model does not answer")}, now=later(minutes=1)
        )
        == 1
    )
    made = rows(connection, "route", "id")[-1]
    assert (made.realtime_usd, made.batch_usd) == _both(estimates, of)


@pytest.mark.slow
def test_a_replay_and_a_decision_about_a_batch_are_priced_at_the_present_sharing(
    connection: Connection,
) -> None:
    of = publish(connection, now=NOON, **LONG)
    admit(connection, "k", now=NOON, payload={"text": "help"})
    route(connection, now=NOON)
    priced = Estimates(NOON, shares(connection, of)).of(of, CHARS).batch
    assert priced > Estimates(NOON).of(of, CHARS).batch
    batch, _ = intend(connection, of)
    assert decisions.stakes(connection, batch, now=NOON).again_usd == priced
    asked = replays.preview(connection, "letters", version_no=None, first=None, last=None, now=NOON)
    assert asked.batch_usd == priced


@pytest.mark.slow
def test_a_preview_of_a_workload_or_of_its_changed_file_uses_the_present_sharing(
    pool: Engine, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pool.begin() as connection:
        of = publish(connection, now=NOON, **LONG)
        estimates = Estimates(NOON, shares(connection, of))
    (tmp_path / "item.json").write_text('{"text": "help"}')
    (tmp_path / "own.yaml").write_text(
        render_definition("letters", spec(**LONG, patience_s=5), heading=[])
    )
    for name in ("letters", str(tmp_path / "own.yaml")):
        assert preview(name, item=tmp_path / "item.json", as_json=True) == 0
        told = json.loads(capsys.readouterr().out)["lanes"]
        assert tuple(Decimal(told[lane]["usd_estimate"]) for lane in Lane) == _both(estimates, of)
        assert (told["realtime"]["pack"], told["batch"]["pack"]) == (8, 2)


def _both(estimates: Estimates, of: Version) -> tuple[Decimal, Decimal]:
    found = estimates.of(of, CHARS)
    return found.realtime, found.batch


def test_another_version_is_assumed_to_have_the_same_hit_rates() -> None:
    of, other = version(id=1), version(id=2)
    known = Sharing(hit_rates={(of.id, Lane.BATCH): 0.5})
    assert known.like(of, other).hit_rates == {
        (of.id, Lane.BATCH): 0.5,
        (other.id, Lane.BATCH): 0.5,
    }
    assert known.like(other, of).hit_rates == known.hit_rates


def test_hit_rates_are_not_assumed_for_another_model_or_a_shorter_shared_part() -> None:
    of, rates = version(id=1, **LONG), {(VersionId(1), lane): 0.5 for lane in Lane}
    other_model = version(id=2, **LONG, realtime_model="claude-opus-5-5")
    assert Sharing(hit_rates=rates).like(of, other_model).hit_rates == {
        **rates,
        (other_model.id, Lane.BATCH): 0.5,
    }
    short, long_enough = (
        version(id=n, **LONG | {"instructions": "Sort. " * times})
        for n, times in ((2, 1), (3, 3_000))
    )
    alike = {(long_enough.id, lane): 0.5 for lane in Lane}
    assert Sharing(hit_rates=rates).like(of, short, long_enough).hit_rates == {**rates, **alike}
