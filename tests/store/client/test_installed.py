"""A program outside the checkout, in whose environment the wheel is installed, is checked against its types, and follows."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.conftest import NOON
from tests.examples import admit
from tests.store.client.ends import answer
from tests.store.tries import A

UV = Path(sys.executable).with_name("uv")
PYRIGHT = Path(sys.executable).with_name("pyright")
PROGRAM = """
import asyncio
import sys

from lanes import client
from lanes.client import AsyncLanes, Listed
from lanes.errors import LanesError, UnknownWorkload

print(client.__file__)
told: list[Listed] = list(client.results("letters", follow=True, quiet_s=0))
print([(each.key, each.output) for each in told])


async def main(url: str) -> None:
    async with AsyncLanes(url) as lanes:
        async for item in lanes.results("letters", follow=True, reader="dashboard", quiet_s=0):
            print(item.key, item.state.upper())
        try:
            await lanes.wait("ghosts", "k", reader="dashboard")
        except UnknownWorkload as error:
            why: LanesError = error
            print(why)


asyncio.run(main(sys.argv[1]))
"""
WRONG = """
from lanes import client

for item in client.results("letters", follow="yes"):
    item.no_such_field
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment of its own: Lanes as its wheel has it; what that needs is this checkout's."""
    folder = tmp_path_factory.mktemp("installed")
    checkout = Path(__file__).parents[3]
    _run(UV, "build", "--quiet", "--wheel", "--out-dir", folder, checkout, within=folder)
    _run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", within=folder)
    found = folder / "venv/bin/python"
    (wheel,) = folder.glob("*.whl")
    _run(UV, "pip", "install", "--quiet", "--no-deps", "--python", found, wheel, within=folder)
    (site,) = folder.glob("venv/lib/*/site-packages")
    (site / "needs.pth").write_text(sysconfig.get_path("purelib"))
    return found


def _run(*command: object, within: Path, **variables: str) -> str:
    asked = [str(each) for each in command]
    ran = subprocess.run(
        asked, cwd=within, env=variables or None, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_a_program_of_somebody_elses_is_checked_and_follows(
    python: Path, tmp_path: Path, pool: Engine, database_url: str
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    _run(PYRIGHT, "--pythonpath", python, "--level", "warning", "program.py", within=tmp_path)
    with pool.begin() as connection:
        admit(connection, "k", now=NOON, urgent=True)
    answer(pool)
    said = _run(
        python,
        "program.py",
        database_url,
        within=tmp_path,
        LANES_DATABASE_URL=database_url,
        PATH="/usr/bin:/bin",
    )
    where, *rest = said.splitlines()
    assert Path(where).is_relative_to(python.parents[1])
    assert rest == [
        f"{[('k', A)]}",
        "k SETTLED",
        'there is no workload "ghosts"; correct the name, or publish it',
    ]


@pytest.mark.slow
def test_what_a_program_gets_wrong_is_found_by_the_types_that_are_shipped(
    python: Path, tmp_path: Path
) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    ran = subprocess.run(
        [str(PYRIGHT), "--pythonpath", str(python), "wrong.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "reportArgumentType" in ran.stdout
    assert "reportAttributeAccessIssue" in ran.stdout
    assert "2 errors" in ran.stdout
