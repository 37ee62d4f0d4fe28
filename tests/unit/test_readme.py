"""What the README names is there: commands, make targets, files, pictures."""

import re
import subprocess
from pathlib import Path

import pytest

from lanes.cli import app

README = Path(__file__).resolve().parents[2] / "README.md"
TEXT = README.read_text()
CODE = "\n".join(re.findall(r"^```.*?^```|`[^`\n]+`", TEXT, re.DOTALL | re.MULTILINE))
COMMANDS = sorted(set(re.findall(r"(?:^|`|\(|/)lanes ([a-z][a-z-]+)", CODE, re.MULTILINE)))
TARGETS = sorted(set(re.findall(r"(?:^|`)make ([a-z-]+)", CODE, re.MULTILINE)))
LINKS = sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_it_names_exists(command: str) -> None:
    assert app[command]


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_that_it_names_exists(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", target], cwd=README.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("link", LINKS)
def test_every_file_that_it_links_exists(link: str) -> None:
    assert (README.parent / link).exists()


def test_something_of_each_kind_was_looked_for() -> None:
    assert {"explain", "results", "up"} <= set(COMMANDS)
    assert {"run", "test"} <= set(TARGETS)
    assert "docs/lanes.svg" in LINKS
