"""A program outside the checkout, with the wheel installed, passes a check of its types and follows answers."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.conftest import NOON
from tests.examples import admit
from tests.store.client.ends import answer
from tests.store.tries import A
from tests.wheel import installed, run

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
    return installed(tmp_path_factory.mktemp("installed"))


@pytest.mark.slow
def test_a_program_of_a_user_passes_the_type_check_and_follows(
    python: Path, tmp_path: Path, pool: Engine, database_url: str
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    run(PYRIGHT, "--pythonpath", python, "--level", "warning", "program.py", within=tmp_path)
    with pool.begin() as connection:
        admit(connection, "k", now=NOON, urgent=True)
    answer(pool)
    said = run(
        python,
        "program.py",
        database_url,
        within=tmp_path,
        variables={"LANES_DATABASE_URL": database_url, "PATH": "/usr/bin:/bin"},
    )
    where, *rest = said.splitlines()
    assert Path(where).is_relative_to(python.parents[1])
    assert rest == [
        f"{[('k', A)]}",
        "k SETTLED",
        'there is no workload "ghosts"; correct the name, or publish it',
    ]


@pytest.mark.slow
def test_the_shipped_types_reveal_errors_in_a_program(python: Path, tmp_path: Path) -> None:
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
