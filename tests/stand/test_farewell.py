"""What a run ends with: links that open what they name, and commands that work as copied."""

import io
import json
import shlex
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from lanes.cli import app
from lanes.commands.run import (
    NextStep,
    Surroundings,
    next_steps,
    own_event,
    print_farewell,
    program,
    run,
)
from lanes.doors.item import read_submission
from lanes.settling.listing import AnswerExample
from lanes.stand.progress import Console
from lanes.words import Lane, Standing
from tests.conftest import NOON

AT = Surroundings(
    ".venv/bin/lanes", "http://127.0.0.1:4200/api", "http://127.0.0.1:4200", None, stays_up=False
)
LOGIN = '-K "$(.venv/bin/lanes url prefect --curl-config)"'
FIRST = AnswerExample(
    "tickets",
    "T-1",
    {},
    {},
    (),
    Standing.AUTHORITATIVE,
    Lane.BATCH,
    1.0,
    Lane.BATCH,
    1.0,
    {},
    Decimal(0),
)
CORRECTED = replace(FIRST, key="T-2", was={"urgency": "high"})


def farewell(*steps: NextStep, at: Surroundings = AT, stays: bool) -> str:
    console = Console(file=io.StringIO(), width=60)
    print_farewell(console, at, steps, report_page="/v2/artifacts/artifact/a1", stays=stays)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_links_open_the_report_itself_and_the_runs() -> None:
    lines = farewell(stays=True).splitlines()
    assert any(line.endswith("http://127.0.0.1:4200/v2/artifacts/artifact/a1") for line in lines)
    assert any(line.endswith("http://127.0.0.1:4200/v2/runs") for line in lines)


def test_a_stand_that_was_stopped_is_started_first() -> None:
    again = "once `.venv/bin/lanes up` has started the stand again"
    assert again in farewell(stays=False)
    assert again not in farewell(stays=True)
    assert again not in farewell(stays=False, at=replace(AT, stays_up=True))


def test_there_are_three_steps_and_the_story_is_that_of_a_correction() -> None:
    steps = next_steps(AT, "tickets", [FIRST, CORRECTED], now=NOON)
    assert [each.command.split("-H")[0].strip() for each in steps] == [
        ".venv/bin/lanes results tickets",
        ".venv/bin/lanes explain tickets T-2",
        f"curl -fsS {LOGIN} http://127.0.0.1:4200/api/events",
    ]
    assert app["explain"]


def test_no_command_carries_what_a_terminal_would_not_show() -> None:
    hidden = replace(CORRECTED, key="a\x1b[2Jb")
    assert next_steps(AT, "tickets", [hidden, FIRST], now=NOON)[1].command.endswith(
        "explain tickets T-1"
    )
    assert len(next_steps(AT, "tickets", [hidden], now=NOON)) == 2
    quoted = next_steps(AT, "tickets", [replace(FIRST, key="x; rm -rf '")], now=NOON)[1].command
    assert shlex.split(quoted)[-1] == "x; rm -rf '"


def test_the_event_is_one_that_prefect_and_the_door_take() -> None:
    called = shlex.split(own_event(AT, "it's", "body", "mine-1", NOON))
    assert called[:5] == ["curl", "-fsS", *shlex.split(LOGIN), "http://127.0.0.1:4200/api/events"]
    (event,) = json.loads(called[-1])
    assert {"id", "occurred", "event", "resource", "payload"} <= set(event)
    assert event["resource"] == {"prefect.resource.id": "lanes.workload.it's"}
    item = read_submission("tickets", event["payload"], place="1", sent_at=NOON)
    assert (item.key, item.urgent, list(item.payload)) == ("mine-1", True, ["body"])


def test_the_commands_are_printed_whole_however_narrow_the_terminal() -> None:
    steps = next_steps(AT, "tickets", [replace(FIRST, key="[bold]" + "k" * 80)], now=NOON)
    shown = farewell(*steps, stays=True)
    for step in steps:
        assert all(line in shown for line in step.command.splitlines())


def test_the_file_that_holds_the_login_is_named_where_the_ui_asks_for_one() -> None:
    assert "Login" not in farewell(stays=True)
    named = farewell(stays=True, at=replace(AT, login=Path("/home/ada/.lanes/prefect.curl")))
    assert "between the quotation marks in /home/ada/.lanes/prefect.curl" in named


def test_lanes_is_called_as_the_shell_finds_it(tmp_path: Path) -> None:
    folder = Path(sys.executable).parent
    assert program({"PATH": str(folder)}, tmp_path) == "lanes"
    assert program({"PATH": str(tmp_path)}, folder.parent) == f"{folder.name}/lanes"
    assert program({}, tmp_path) == str(folder / "lanes")
    assert (
        program({"PATH": str(folder), "LANES_HOME": "/my home"}, tmp_path)
        == "LANES_HOME='/my home' lanes"
    )


def test_staying_and_ending_at_once_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(stay=True, once=True) == 2
    assert "--stay" in capsys.readouterr().err
