"""`lanes figures rebuild`: a rebuild makes wrong figures match the facts again."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from lanes.commands.figures import figures
from lanes.store.figures import folding
from lanes.store.figures.folding import Rebuilt
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.figures.recounting import Recount, stand
from tests.store.tries import claim, rows, save, tried

Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def lived_in(
    pool: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANES_DATABASE_URL", database_url)
    monkeypatch.setenv("LANES_HOME", str(tmp_path))
    with pool.begin() as connection:
        publish(connection, now=NOON)
        for day in range(3):
            admit(connection, f"a{day}", f"b{day}", now=later(days=day), lane=Lane.REALTIME)
            route(connection, now=later(days=day))
            save(
                connection,
                *(
                    tried(each, at=later(days=day))
                    for each in claim(connection, now=later(days=day))
                ),
                now=later(days=day),
            )


def spoiled(pool: Engine) -> object:
    """Fold the figures and falsify them; return them as they were."""
    with pool.begin() as connection:
        folding.fold(connection)
        right = stand(connection)
        connection.execute(text("update lanes.figure set n = n + 7 where kind = 'item'"))
        connection.execute(text("delete from lanes.figure_spread"))
    return right


@pytest.mark.slow
def test_a_rebuild_corrects_only_the_days_of_its_period(pool: Engine, capsys: Told) -> None:
    right = spoiled(pool)
    assert figures("rebuild", since="2026-11-25", until="2026-11-25T18:00:00", as_json=True) == 0
    said = json.loads(capsys.readouterr().out)
    assert ([each["day"][:10] for each in said["days"]], said["facts"]) == (["2026-11-25"], 10)
    with pool.begin() as connection:
        healed = {
            each.at.day: each.n for each in rows(connection, "figure", kind="item", grain="day")
        }
    assert healed == {24: 9, 25: 2, 26: 9}
    assert figures("rebuild", until="2026-11-30") == 0
    assert "6 days rebuilt from 30 facts: 2026-11-24 to 2026-11-29" in capsys.readouterr().out
    with pool.begin() as connection:
        assert stand(connection) == right == (Recount(connection).figures, Recount(connection).hist)


def test_a_rebuild_in_several_transactions_corrects_every_day(pool: Engine) -> None:
    right, told = spoiled(pool), list[Rebuilt]()
    folding.rebuild(
        pool, since=None, until=later(days=2), told=lambda day, _: told.append(day), most=15
    )
    assert [each.facts for each in told] == [10, 10, 10]
    with pool.begin() as connection:
        assert stand(connection) == right


@pytest.mark.slow
def test_facts_written_during_a_rebuild_are_counted_once(pool: Engine) -> None:
    with pool.connect() as writer:
        with writer.begin() as unfinished:
            admit(writer, "late", now=later(days=1), lane=Lane.REALTIME)
            route(writer, now=later(days=1))
            assert figures("rebuild", until="2026-11-30") == 0
            unfinished.commit()
        with writer.begin():
            folding.fold(writer)
            recounted = Recount(writer)
            assert stand(writer) == (recounted.figures, recounted.hist)


@pytest.mark.slow
def test_a_rebuild_is_refused_while_another_session_folds(pool: Engine, capsys: Told) -> None:
    with pool.begin() as connection:
        folding.fold(connection)
        assert figures("rebuild") == 1
    assert "has held it for longer than 1 s" in capsys.readouterr().err


def test_a_value_that_is_not_a_point_in_time_is_refused(capsys: Told) -> None:
    assert figures("rebuild", since="yesterday") == 2
    assert '"yesterday" is no moment' in capsys.readouterr().err
