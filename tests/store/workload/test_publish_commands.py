"""`lanes publish` and `lanes export`: file, block and database hold one definition, and no change is overwritten unseen."""

import asyncio
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings
from sqlalchemy import Engine, text

from lanes.commands import publish as publishing
from lanes.commands.publish import export, publish
from lanes.stand.reaching import Editor
from lanes.store.database import Database, clock
from lanes.store.workload import candidates, workloads
from lanes.workload.definition import Edit, EditReply
from lanes.workload.definition_file import render_definition
from lanes.workload.version import Spec
from tasks.edit import edit
from tests.conftest import NOON
from tests.examples import SCHEMA, admit, spec
from tests.examples import publish as put_in_force
from tests.prefect_standin import PrefectStandIn
from tests.rollouts import step, write

Told = pytest.CaptureFixture[str]


@pytest.fixture
def prefect(
    prefect: PrefectStandIn, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> PrefectStandIn:
    """Point the environment at the test's own Prefect and change to an empty folder."""
    monkeypatch.setenv("PREFECT_API_URL", prefect.api_url)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.chdir(tmp_path)
    return prefect


@pytest.fixture
def in_this_process(prefect: PrefectStandIn, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save blocks in this process: a process that imports Prefect takes two seconds to start."""

    async def told(wished: str) -> str:
        async with Database(address) as db:
            return (await edit(db, Edit.read(wished))).as_json()

    def save(_: Editor, wished: Edit) -> EditReply:
        with temporary_settings({PREFECT_API_URL: prefect.api_url}), disable_run_logger():
            return EditReply.read(asyncio.run(told(wished.as_json())))

    monkeypatch.setattr(Editor, "save", save)


def in_force(pool: Engine) -> Any:
    with pool.begin() as connection:
        return workloads.current(connection, "letters")


def stands(pool: Engine, prefect: PrefectStandIn, **fields: Any) -> None:
    """Put the workload in force with a matching block."""
    with pool.begin() as connection:
        put_in_force(connection, now=NOON, **fields)
    prefect.blocks["letters"] = spec(**fields).model_dump(mode="json")


def a_file(name: str = "letters", **fields: Any) -> Path:
    file = Path("letters.yaml")
    file.write_text(render_definition(name, spec(**fields), heading=[]))
    return file


def data(capsys: Told) -> Any:
    return json.loads(capsys.readouterr().out)


def untouched(prefect: PrefectStandIn) -> bool:
    """Return whether Prefect received no writes."""
    return not any("checksum" in each for each in prefect.requests)


def test_publishing_an_exported_file_changes_nothing(
    pool: Engine, prefect: PrefectStandIn, capsys: Told
) -> None:
    odd = {
        **SCHEMA,
        "properties": {
            **SCHEMA["properties"],
            "n": {"maximum": 1e23, "default": 1.0, "enum": [True, 1, None]},
        },
    }
    stands(
        pool,
        prefect,
        output_schema=odd,
        instructions="Sort:\n- a: the first\n",
        mode="lambda",
        split_percent=12.5,
    )
    assert export("letters", out=Path("out.yaml")) == 0
    assert publish(Path("out.yaml")) == 0
    assert "nothing differs from version 1, which is in force" in capsys.readouterr().out
    assert publish(Path("out.yaml"), as_json=True) == 0
    assert data(capsys) == {
        "workload": "letters",
        "outcome": "nothing_differs",
        "version": 1,
        "block": "same",
        "differences": [],
        "block_differences": [],
        "block_problems": [],
        "faults": [],
    }
    assert (in_force(pool).number, untouched(prefect)) == (1, True)


@pytest.mark.slow
def test_a_new_workload_is_shown_whole_and_published_with_its_block(
    pool: Engine, prefect: PrefectStandIn, capsys: Told
) -> None:
    assert publish(a_file(patience_s=5), yes=True) == 0
    said = capsys.readouterr().out
    assert said.startswith("letters is new:\n")
    assert "  patience_s: + 5\n" in said
    assert said.endswith(
        "letters: version 1 is in force; its batches depart from 22:00 to 06:00 (UTC)\n"
    )
    assert in_force(pool).spec.patience_s == 5
    assert prefect.blocks["letters"]["patience_s"] == 5
    assert len(prefect.schedules["depart"]) == 1
    assert publish(Path("letters.yaml")) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_publish_shows_each_differing_field_and_changes_nothing_without_yes(
    pool: Engine, prefect: PrefectStandIn, capsys: Told
) -> None:
    stands(pool, prefect, instructions="Sort the letter.\nBe quick.\n")
    schema = {**SCHEMA, "properties": {"category": {"type": "string", "enum": ["a", "c"]}}}
    file = a_file(
        instructions="Sort the letter.\nBe kind.\n",
        patience_s=5,
        output_schema=schema,
        split_percent=3,
    )
    assert publish(file) == 1
    told = capsys.readouterr()
    for line in (
        "letters: 5 fields differ from version 1, which is in force",
        "  instructions:",
        "    - Be quick.",
        "    + Be kind.",
        "  output_schema.properties.category.enum:",
        '    - "b"',
        '    + "c"',
        '  output_schema.properties.note: - {"type": "string"}',
        "  patience_s: 60 -> 5",
        publishing.SPLIT_STAYS,
    ):
        assert line in told.out.splitlines()
    assert told.err == "nothing was changed; add --yes to publish it\n"
    assert (in_force(pool).number, untouched(prefect)) == (1, True)
    assert publish(file, as_json=True) == 1
    said = data(capsys)
    assert (said["outcome"], said["version"], said["block"]) == ("not_agreed", 1, "behind")
    assert {"field": "patience_s", "before": 60, "after": 5} in said["differences"]
    assert {"field": "output_schema.properties.note", "before": {"type": "string"}} in said[
        "differences"
    ]
    assert publish(file, yes=True, as_json=True) == 0
    assert (data(capsys)["version"], in_force(pool).spec.patience_s) == (2, 5)


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(("answer", "number"), [("y\n", 2), ("n\n", 1), ("\n", 1), ("", 1)])
def test_publish_asks_for_confirmation_on_a_terminal(
    pool: Engine,
    prefect: PrefectStandIn,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Told,
    answer: str,
    number: int,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stands(pool, prefect)
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert publish(a_file(patience_s=5)) == (0 if number == 2 else 1)
    assert "Publish it?" in sys.stdout.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert in_force(pool).number == number
    # A slow machine prints lines about waiting.
    lines = [
        each for each in capsys.readouterr().err.splitlines() if not each.startswith("waiting for")
    ]
    assert lines[0].startswith(
        "Publishing letters: published" if number == 2 else "nothing was changed"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_a_differing_block_is_shown_before_it_is_replaced(
    pool: Engine, prefect: PrefectStandIn, capsys: Told
) -> None:
    stands(pool, prefect)
    prefect.blocks["letters"]["weight"] = 9  # edited, but not published yet
    assert publish(a_file()) == 1
    told = capsys.readouterr().out
    assert "nothing differs from version 1" in told
    assert "says something else that is not in force, and is replaced:\n  weight: 9 -> 1\n" in told
    prefect.blocks["letters"]["weight"] = 900
    assert publish(a_file()) == 1
    assert "its block in Prefect is not valid, and is replaced: weight: " in capsys.readouterr().out
    assert publish(a_file(), yes=True) == 0
    assert (prefect.blocks["letters"]["weight"], in_force(pool).number) == (1, 1)


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_a_workload_without_a_block_gets_one(
    pool: Engine, prefect: PrefectStandIn, capsys: Told
) -> None:
    stands(pool, prefect)
    del prefect.blocks["letters"]
    assert publish(a_file(), yes=True) == 0
    assert "it has no block in Prefect; one is made" in capsys.readouterr().out
    assert (set(prefect.blocks), in_force(pool).number) == ({"letters"}, 1)


def test_export_and_publish_report_a_stored_version_that_cannot_be_read(
    pool: Engine, prefect: PrefectStandIn, capsys: Told
) -> None:
    stands(pool, prefect)
    with pool.begin() as connection:
        connection.execute(text('update lanes.version set spec = spec || \'{"weight": "heavy"}\''))
    assert export("letters") == 1
    assert publish(a_file(patience_s=5)) == 1
    assert "its stored version 1 cannot be read; weight: " in capsys.readouterr().out


@pytest.mark.parametrize("status", [500, 401])
def test_publish_changes_nothing_while_prefect_is_unavailable(
    pool: Engine, prefect: PrefectStandIn, capsys: Told, status: int
) -> None:
    stands(pool, prefect)
    file = a_file(patience_s=5)
    prefect.status = status
    assert publish(file, yes=True) == 1
    assert "the Prefect API at " in capsys.readouterr().err
    prefect.heals()
    assert (in_force(pool).number, prefect.blocks["letters"]["patience_s"]) == (1, 60)
    prefect.stop()
    assert publish(file, yes=True) == 1
    assert (
        "gives no answer (ConnectError): start it, or correct PREFECT_API_URL"
        in capsys.readouterr().err
    )


def test_an_invalid_file_is_refused_before_prefect_receives_a_request(
    prefect: PrefectStandIn, capsys: Told
) -> None:
    file = Path("letters.yaml")
    file.write_text(
        "name: letters\ninstructions: Sort.\noutput_schema: {type: array}\npatience_s: -1\n"
    )
    assert publish(file, yes=True) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "letters.yaml cannot be published; nothing was changed:"
    assert [each.split(",")[0] for each in told[1:]] == ["  line 3", "  line 4"]
    assert publish(Path("ghost.yaml")) == 2
    assert capsys.readouterr().err == 'there is no file "ghost.yaml"\n'
    assert prefect.requests == []


@pytest.mark.slow
def test_an_export_shows_the_version_in_force_and_reports_a_differing_block(
    pool: Engine, prefect: PrefectStandIn, capsys: Told
) -> None:
    stands(pool, prefect, patience_s=5)
    prefect.blocks["letters"]["weight"] = 9
    assert export("letters") == 0
    told = capsys.readouterr()
    assert "\npatience_s: 5\n" in told.out
    assert "\nweight: 1\n" in told.out
    assert (
        told.err
        == "its block says something else that is not in force (weight): --block writes that\n"
    )
    assert export("letters", block=True) == 0
    assert "\nweight: 9\n" in capsys.readouterr().out
    prefect.blocks["letters"]["weight"] = 900
    assert export("letters", as_json=True) == 0
    told = capsys.readouterr()
    assert Spec.model_validate(json.loads(told.out), extra="ignore") == in_force(pool).spec
    assert "its block is not valid and so not in force: weight: " in told.err
    assert export("letters", block=True) == 1


def test_an_export_needs_no_prefect_and_keeps_the_key_order_of_the_author(
    pool: Engine, prefect: PrefectStandIn, capsys: Told
) -> None:
    stands(pool, prefect)  # the database sorts the keys of an object
    export("letters", out=Path("letters.yaml"))
    assert capsys.readouterr() == ("", "")
    assert Path("letters.yaml").read_text().index("category:") < Path(
        "letters.yaml"
    ).read_text().index("note:")
    prefect.stop()
    assert export("letters") == 0
    told = capsys.readouterr()
    assert "\nname: letters\n" in told.out
    assert told.err.startswith("its block was not looked at: the Prefect API at ")


@pytest.mark.slow
def test_an_export_overwrites_a_differing_file_only_with_force(
    pool: Engine, prefect: PrefectStandIn, capsys: Told
) -> None:
    stands(pool, prefect)
    file = a_file(patience_s=5)
    before = file.read_text()
    assert export("letters", out=file) == 1
    assert (file.read_text(), "--force overwrites it" in capsys.readouterr().err) == (before, True)
    assert export("letters", out=file, force=True) == 0
    assert export("letters", out=file) == 0  # the file has this content already
    assert "patience_s: 60" in file.read_text()


def test_an_export_of_an_unknown_workload_is_wrong_usage(
    prefect: PrefectStandIn, capsys: Told
) -> None:
    assert export("letters") == 2
    assert export("letters", block=True) == 2
    assert export("../letters") == 2
    prefect.blocks["letters"] = {"weight": 1}
    assert export("letters") == 2
    assert "its block says something that is not in force: see --block" in capsys.readouterr().err


FAILS: list[tuple[dict[str, Any], str]] = [
    (
        {"urgent_when": "payload.amount > 5"},
        'a rule cannot be evaluated for 2 of the newest 3 items, first for "b": ',
    ),
    (
        {"input_schema": {"type": "object", "required": ["amount"]}},
        "input_schema would refuse 2 of the newest 3 items, first ",
    ),
]


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(("changed", "said"), FAILS)
def test_a_definition_that_fails_on_received_items_is_published_only_with_force(
    pool: Engine, prefect: PrefectStandIn, capsys: Told, changed: dict[str, Any], said: str
) -> None:
    stands(pool, prefect)
    with pool.begin() as connection:
        now = clock(connection)
        admit(connection, "a", "b", now=now)
        admit(connection, "c", now=now, payload={"amount": 9})
    assert publish(a_file(**changed), yes=True) == 1
    assert said in capsys.readouterr().err
    assert publish(Path("letters.yaml"), yes=True, as_json=True) == 1
    told = data(capsys)
    assert (told["outcome"], len(told["faults"]), in_force(pool).number) == ("fails_on_items", 1, 1)
    assert untouched(prefect)
    assert publish(Path("letters.yaml"), yes=True, force=True) == 0
    # Faults of the version in force block no other change.
    assert publish(a_file(**changed, patience_s=5), yes=True) == 0
    assert in_force(pool).number == 3


@pytest.mark.usefixtures("in_this_process")
def test_a_canary_stores_the_version_and_requests_its_rollout(
    pool: Engine, prefect: PrefectStandIn, capsys: Told
) -> None:
    stands(pool, prefect)
    assert publish(a_file(patience_s=7), canary="new-version", yes=True, as_json=True) == 0
    said = data(capsys)
    assert (said["outcome"], said["version"], said["candidate"]) == ("candidate", 1, 2)
    assert in_force(pool).number == 1
    assert prefect.blocks["letters"]["patience_s"] == 7
    (asked,) = prefect.asked("migrate")
    order = asked["order"]
    assert (order["playbook"], order["version"]) == ("new-version", "2")


@pytest.mark.usefixtures("in_this_process")
def test_a_canary_with_a_custom_playbook_passes_the_path_of_the_playbook(
    pool: Engine, prefect: PrefectStandIn, capsys: Told
) -> None:
    stands(pool, prefect)
    own = write(Path.cwd(), step(50), step(100), direction="version")
    assert publish(a_file(patience_s=7), canary=own, yes=True) == 0
    assert "version 2 is stored and not in force; asked for a rollout" in capsys.readouterr().out
    assert prefect.runs[-1].parameters["order"]["file"] == own


@pytest.mark.parametrize(
    ("canary", "fields", "why"),
    [
        (
            "batch-to-realtime",
            {"patience_s": 7},
            "moves traffic between the lanes, not to a version",
        ),
        ("ghost", {"patience_s": 7}, "there is no file of that name in migrations/playbooks"),
        ("new-version", {}, 'version 1 of workload "letters" is in force already'),
        ("new-version", {"name": "parcels"}, 'workload "parcels" has no version in force'),
    ],
)
def test_an_invalid_canary_is_refused_before_anything_changes(
    pool: Engine,
    prefect: PrefectStandIn,
    capsys: Told,
    canary: str,
    fields: dict[str, Any],
    why: str,
) -> None:
    stands(pool, prefect)
    assert publish(a_file(**fields), canary=canary, yes=True) == 1
    assert why in capsys.readouterr().err
    assert untouched(prefect)
    with pool.begin() as connection:
        assert candidates.find(connection, "letters") is None
