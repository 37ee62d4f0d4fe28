"""The overview and the help of the commands, and the modules that they and the domain load."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from lanes import cli
from lanes.cli import app

HEAVY = (
    "anthropic",
    "cel",
    "genai_prices",
    "httpx2",
    "lanes.commands.run",
    "psycopg",
    "scipy",
    "sqlalchemy",
)


def loaded(program: str, *arguments: str) -> tuple[str, set[str]]:
    """Run a program in a new process; return its output and the heavy modules that it had loaded by its end."""
    at_the_end = f"import atexit, sys; atexit.register(lambda: print(*set({HEAVY}) & sys.modules.keys(), file=sys.stderr))"
    command = [sys.executable, "-c", f"{at_the_end}; {program}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout, set(done.stderr.split())


@pytest.mark.slow
def test_the_overview_shows_the_summary_of_each_command_and_loads_no_heavy_module() -> None:
    printed, heavy = loaded("from lanes.cli import main; main()", "--help")
    words = " ".join(printed.replace("│", " ").split())
    for command in cli.COMMANDS:
        module, _, name = command.partition(":")
        said = getattr(import_module(f"lanes.commands.{module}"), name).__doc__.partition("\n\n")[0]
        assert " ".join(said.replace("`", "").split()) in words
    assert heavy == set()


@pytest.mark.slow
def test_a_command_whose_output_pipe_is_closed_prints_no_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lanes", "init", "letters", "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        running.stdout.close()
        _, said = running.communicate()
    assert (running.returncode, said) == (1, b"")


@pytest.mark.slow
@pytest.mark.parametrize(
    "chapter", ["lanes.routing.route", "lanes.settling.settle", "lanes.rollouts.rollout"]
)
def test_a_domain_chapter_loads_no_driver_no_sdk_and_no_price_table(
    chapter: str,
) -> None:
    assert loaded(f"import {chapter}") == ("", set())


@pytest.mark.parametrize("name", ["results", "depart", "url", "psql"])
def test_help_has_an_example_and_the_exit_codes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    app([name, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert said.count(f"lanes {name}") > 1  # in addition to the usage
    assert "xit code" in said
