"""Text from an item, a file or the provider never acts on a terminal and never forges a line of a log."""

import ast
import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from lanes import cli
from lanes.report.listing import harmless
from lanes.stand.progress import Console
from lanes.text import (
    CONTROLS,
    JsonLine,
    VisibleRecord,
    VisibleStream,
    log_ids,
    strip_controls,
    visible,
)
from tests.unit.modules import ROOT

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\x08\u202eevil\u2066\u2028next\ud800\r"
TEXTS = st.text(st.characters() | st.sampled_from(HOSTILE))
ALLOWED = {"\n", "\t"}


def acts(text: str) -> set[str]:
    """Return the characters of a text that act on a terminal, by their categories and not by our own pattern."""
    found = re.findall(
        "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text
    )
    return set(found) - ALLOWED


@pytest.mark.slow
@given(TEXTS)
@example(HOSTILE)
def test_visible_text_has_no_control_character_and_all_other_characters_are_unchanged(
    text: str,
) -> None:
    assert not acts(visible(text))
    assert visible(CONTROLS.sub("", text)) == CONTROLS.sub("", text)


@given(TEXTS)
@example(HOSTILE)
def test_json_without_control_characters_reads_back_the_same(text: str) -> None:
    for ascii_only in (True, False):
        written = strip_controls(json.dumps({text: [text]}, ensure_ascii=ascii_only))
        assert not acts(written)
        assert json.loads(written) == {text: [text]}


@given(TEXTS)
@example(HOSTILE)
def test_a_cell_of_a_spreadsheet_contains_no_control_character(text: str) -> None:
    assert not acts(harmless(text))


@given(TEXTS)
@example(HOSTILE)
def test_printed_text_contains_no_control_character(text: str) -> None:
    out = io.StringIO()
    stream = VisibleStream(out)
    print(text, file=stream)
    stream.writelines([text])
    assert not acts(out.getvalue())


@pytest.mark.parametrize("terminal", [True, False])
def test_output_of_rich_contains_no_control_character_except_its_own(terminal: bool) -> None:
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=terminal, width=200, color_system="standard" if terminal else None
    )
    table = Table(title=f"title {HOSTILE}")
    table.add_column(f"column {HOSTILE}")
    table.add_row(Text(f"cell {HOSTILE}", "red"))
    console.print(table)
    console.print(f"line {HOSTILE}", markup=False)
    said = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert not acts(said)
    assert said.count("\\x1b]0;owned") >= 3
    assert ("\x1b[31m" in out.getvalue()) == terminal


def test_progress_bars_move_on_a_visible_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", VisibleStream(out))  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(sys, "stdout", VisibleStream(out))  # pyright: ignore[reportArgumentType]
    console = Console(stderr=True, force_terminal=True, width=80)
    with Progress(console=console) as bars:
        bars.add_task("lines", total=2)
        print(f"beside it {HOSTILE[:-1]}")
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).replace("\r", "")
    assert "\x1b[" in out.getvalue()
    assert "\\x1b[?25l" not in said
    assert not acts(said)
    assert "beside it" in said


def test_every_module_of_lanes_uses_our_own_console() -> None:
    own = ROOT / "lanes" / "stand" / "console.py"
    for file in (each for each in (ROOT / "lanes").rglob("*.py") if each != own):
        said = file.read_text()
        for node in ast.walk(ast.parse(said)) if "rich.console" in said else ():
            if isinstance(node, ast.ImportFrom) and node.module == "rich.console":
                assert "Console" not in {each.name for each in node.names}, file


@pytest.fixture
def visible_records() -> Iterator[None]:
    """Log as every process of Lanes does."""
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(VisibleRecord)
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("visible_records")
@pytest.mark.parametrize("name", ["prefect.flow_runs", "lanes.store", "httpx"])
def test_a_log_line_contains_no_control_character_and_our_log_lines_cannot_be_forged(
    name: str,
) -> None:
    out = io.StringIO()
    logger, handler = logging.getLogger(f"{name}.test_escaping"), logging.StreamHandler(out)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        logger.warning("batch %d: %s", 1, f"{HOSTILE}\n2026-01-01 ERROR forged")
        try:
            raise ValueError(f"the provider said {HOSTILE}")
        except ValueError:
            logger.exception("it failed")
    finally:
        logger.removeHandler(handler)
    assert not acts(out.getvalue())
    assert "ValueError: the provider said \\x1b]0;owned" in out.getvalue()
    assert ("\n2026-01-01 ERROR forged" in out.getvalue()) == (name == "httpx")


@pytest.mark.usefixtures("visible_records")
def test_a_log_line_in_json_is_one_line_for_any_quoted_text_and_contains_its_ids() -> None:
    out = io.StringIO()
    logger, handler = logging.getLogger("lanes.test_escaping.json"), logging.StreamHandler(out)
    handler.setFormatter(JsonLine())
    logger.addHandler(handler)
    logger.propagate = False
    forged = f'{HOSTILE}"}}\n{{"level": "error", "message": "forged\ud800'
    try:
        with log_ids(item=7), log_ids(batch=41, trace="4bf9"):
            logger.warning("it says %s", forged, extra={"flow_run_id": "r-1"})
        try:
            raise ValueError(forged)
        except ValueError:
            logger.exception("it failed")
    finally:
        logger.removeHandler(handler)
    assert not acts(out.getvalue())
    out.getvalue().encode()
    warned, failed = map(json.loads, out.getvalue().splitlines())
    assert datetime.fromisoformat(warned.pop("time")).tzinfo is not None
    assert warned == {
        "level": "warning",
        "logger": "lanes.test_escaping.json",
        "message": visible(f"it says {forged}").replace("\n", "\\n"),
        "item": 7,
        "batch": 41,
        "trace": "4bf9",
        "run": "r-1",
    }
    assert failed["message"] == "it failed"
    assert failed["error"].startswith("Traceback")
    assert "batch" not in failed


@pytest.mark.slow
@pytest.mark.parametrize("module", ["flows", "tasks.worker"])
def test_runs_and_workers_log_in_json_if_a_setting_says_so(module: str) -> None:
    said = (
        f"import {module}, logging; logging.getLogger('prefect.flow_runs').error('it :bug: failed')"
    )
    for form, starts in (("json", '{"time": "20'), ("text", "")):
        around = {**os.environ, "LANES_LOG_FORMAT": form, "PREFECT_LOGGING_TO_API_ENABLED": "false"}
        ran = subprocess.run(
            [sys.executable, "-c", said], env=around, cwd=ROOT, capture_output=True, text=True
        )
        [line] = [each for each in ran.stderr.splitlines() if "failed" in each]
        assert line.startswith(starts)
        assert ('"message": "it :bug: failed"' in line) == (form == "json")


def test_flows_log_visible_records() -> None:
    """The flows package requests them on import, which covers each process of a run."""
    tree = ast.parse((ROOT / "flows" / "__init__.py").read_text())
    called = [
        node.value.func.id
        for node in tree.body
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
    ]
    assert called == ["make_logs_visible"]


REFUSALS = [
    ["publish", "hostile.yaml"],
    ["publish", f"no{HOSTILE[:12]}file.yaml"],
    ["init", f"bad{HOSTILE[:12]}name"],
    ["init", "letters", "--from", "hostile.csv"],
    ["submit", f"no{HOSTILE[:12]}file.csv", "--workload", "letters"],
    ["submit", f"--no-such{HOSTILE[:12]}"],
    [f"no{HOSTILE[:12]}command"],
    ["preview", f"no{HOSTILE[:12]}file.yaml", "--item", "x"],
    ["run", "--input", f"no{HOSTILE[:12]}file.csv"],
    ["init", "letters", "--from", f"x{HOSTILE[:12]}.csv"],
]


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked")
@pytest.mark.parametrize("command", REFUSALS, ids=lambda command: repr(" ".join(command)))
def test_the_error_of_a_refused_command_contains_no_control_character(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    header = f"id,text{HOSTILE[:20]},id"
    (tmp_path / "hostile.csv").write_text(f'{header}\n1,"x\n', encoding="utf-8")
    (tmp_path / "hostile.yaml").write_text(
        'name: "a\\e]0;owned\\a"\n"no\\e[2Jfield": 1\nmode: "\\u202e\\e"\n'
    )
    monkeypatch.setattr(sys, "argv", ["lanes", *command])
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    monkeypatch.setattr("logging.setLogRecordFactory", lambda factory: None)
    monkeypatch.setattr("lanes.cli.collect_garbage_seldom", lambda: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code not in (0, None)
    assert not acts(said.out + said.err), said
    assert said.out + said.err
