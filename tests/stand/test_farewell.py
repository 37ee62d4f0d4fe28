"""The end of a run of the main job: who ends it, where its report is, links that work and commands that work."""

import io
import json
import os
import shlex
import sys
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from lanes.cli import app
from lanes.commands.run import (
    NextStep,
    Surroundings,
    example_event,
    is_attended,
    next_steps,
    print_farewell,
    program,
    run,
)
from lanes.doors.item import read_submission
from lanes.report.links import report_page
from lanes.settings import Settings
from lanes.settling.listing import AnswerExample
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.progress import Console, StepLines
from lanes.stand.stand import Stand
from lanes.stand.steps import StandStep
from lanes.stand.worksite import Site
from lanes.words import Lane, Standing
from tests.conftest import NOON
from tests.prefect_standin import PrefectStandIn

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


def test_the_farewell_links_to_the_report_and_to_the_runs() -> None:
    lines = farewell(stays=True).splitlines()
    assert any(line.endswith("http://127.0.0.1:4200/v2/artifacts/artifact/a1") for line in lines)
    assert any(line.endswith("http://127.0.0.1:4200/v2/runs") for line in lines)


def test_the_farewell_of_a_stopped_stand_says_how_to_start_the_stand_again() -> None:
    again = "once `.venv/bin/lanes up` has started the stand again"
    assert again in farewell(stays=False)
    assert again not in farewell(stays=True)
    assert again not in farewell(stays=False, at=replace(AT, stays_up=True))


def test_there_are_three_next_steps_and_the_explained_item_is_a_corrected_one() -> None:
    steps = next_steps(AT, "tickets", [FIRST, CORRECTED], now=NOON)
    assert [each.command.split("-H")[0].strip() for each in steps] == [
        ".venv/bin/lanes results tickets",
        ".venv/bin/lanes explain tickets T-2",
        f"curl -fsS {LOGIN} http://127.0.0.1:4200/api/events",
    ]
    assert app["explain"]


def test_no_suggested_command_contains_a_control_character_or_an_unquoted_key() -> None:
    hidden = replace(CORRECTED, key="a\x1b[2Jb")
    assert next_steps(AT, "tickets", [hidden, FIRST], now=NOON)[1].command.endswith(
        "explain tickets T-1"
    )
    assert len(next_steps(AT, "tickets", [hidden], now=NOON)) == 2
    quoted = next_steps(AT, "tickets", [replace(FIRST, key="x; rm -rf '")], now=NOON)[1].command
    assert shlex.split(quoted)[-1] == "x; rm -rf '"


def test_the_example_event_is_valid_for_prefect_and_for_the_door() -> None:
    called = shlex.split(example_event(AT, "it's", "body", "mine-1", NOON))
    assert called[:5] == ["curl", "-fsS", *shlex.split(LOGIN), "http://127.0.0.1:4200/api/events"]
    (event,) = json.loads(called[-1])
    assert {"id", "occurred", "event", "resource", "payload"} <= set(event)
    assert event["resource"] == {"prefect.resource.id": "lanes.workload.it's"}
    item = read_submission("tickets", event["payload"], place="1", sent_at=NOON)
    assert (item.key, item.urgent, list(item.payload)) == ("mine-1", True, ["body"])


def test_the_commands_are_printed_completely_on_a_narrow_terminal() -> None:
    steps = next_steps(AT, "tickets", [replace(FIRST, key="[bold]" + "k" * 80)], now=NOON)
    shown = farewell(*steps, stays=True)
    for step in steps:
        assert all(line in shown for line in step.command.splitlines())


def test_the_farewell_names_the_login_file_if_the_ui_needs_a_login() -> None:
    assert "Login" not in farewell(stays=True)
    named = farewell(stays=True, at=replace(AT, login=Path("/home/ada/.lanes/prefect.curl")))
    assert "between the quotation marks in /home/ada/.lanes/prefect.curl" in named


def test_the_lanes_program_is_named_as_the_shell_finds_it(tmp_path: Path) -> None:
    folder = Path(sys.executable).parent
    assert program({"PATH": str(folder)}, tmp_path) == "lanes"
    assert program({"PATH": str(tmp_path)}, folder.parent) == f"{folder.name}/lanes"
    assert program({}, tmp_path) == str(folder / "lanes")
    assert (
        program({"PATH": str(folder), "LANES_HOME": "/my home"}, tmp_path)
        == "LANES_HOME='/my home' lanes"
    )


def test_stay_and_once_together_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(stay=True, once=True) == 2
    assert "--stay" in capsys.readouterr().err


class FakeTerminal(io.StringIO):
    """A standard stream that is, or is not, a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def test_a_run_is_attended_if_one_of_its_streams_is_an_open_terminal() -> None:
    terminal, pipe = FakeTerminal(terminal=True), FakeTerminal(terminal=False)
    assert is_attended((terminal, pipe, pipe))  # make run 2>&1 | tee log
    assert is_attended((pipe, pipe, terminal))  # make run </dev/null >log
    assert not is_attended((pipe, pipe, pipe))
    closed = FakeTerminal(terminal=True)
    closed.close()
    assert not is_attended((None, closed, pipe))


def test_progress_lines_to_a_closed_pipe_raise_no_error() -> None:
    read, written = os.pipe()
    os.close(read)
    gone = os.fdopen(written, "w")
    StepLines(gone).say("stopped worker-batch")
    with suppress(BrokenPipeError):  # its own buffer still holds the line
        gone.close()


def batch_worker(home: Path, prefect: PrefectStandIn) -> Stand:
    """Make a stand with one worker for runs of that Prefect."""

    def worker(site: Site) -> str:
        site.prefect_api_url = prefect.api_url
        site.ensure("worker-batch", ["sleep", "600"], environment=os.environ, depends_on={})
        return "up"

    return Stand(Settings(), home, home, steps=[StandStep("worker-batch", "Worker", worker)])


def test_stopping_a_stand_cancels_its_running_and_pending_standing_runs_only(
    home: Path, prefect: PrefectStandIn
) -> None:
    for flow, state in (
        ("answer", "RUNNING"),
        ("collect", "PENDING"),
        ("watch", "SCHEDULED"),
        ("migrate", "RUNNING"),
    ):
        prefect.has_run(flow, state)
    stand = batch_worker(home, prefect)
    stand.up()
    assert stand.down() == ("worker-batch",)
    states = {each.flow: each.state for each in prefect.runs}
    assert states == {
        "answer": "CANCELLED",
        "collect": "CANCELLED",
        "watch": "SCHEDULED",
        "migrate": "RUNNING",
    }


def test_a_command_that_stays_with_a_stand_ends_when_another_command_takes_it_down(
    home: Path,
) -> None:
    stand, another = (Stand(Settings(), home, home, steps=[]) for _ in range(2))
    stand.up(keep=False)
    waits = iter([lambda: None, another.down])
    stand.until_down(wait=lambda _: next(waits)())
    assert next(waits, None) is None


def test_a_prefect_that_answers_with_errors_does_not_prevent_a_stop(
    home: Path, prefect: PrefectStandIn
) -> None:
    prefect.status = 503
    stand = batch_worker(home, prefect)
    stand.up()
    assert stand.down() == ("worker-batch",)


def test_the_page_of_a_report_is_that_of_the_newest_artifact_with_its_key(
    prefect: PrefectStandIn,
) -> None:
    with PrefectApi(prefect.api_url) as api:
        assert report_page(api.newest_artifact("lanes-report")) == "/v2/artifacts/key/lanes-report"
        for number in ("first", "second"):
            written = api.write_artifact("lanes-report", f"# {number}", description=number)
            assert (
                report_page(api.newest_artifact("lanes-report"))
                == f"/v2/artifacts/artifact/{written}"
            )
    assert [(each["type"], each["data"], each["description"]) for each in prefect.artifacts] == [
        ("markdown", "# first", "first"),
        ("markdown", "# second", "second"),
    ]
