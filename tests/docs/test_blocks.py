"""The blocks of the pages can be run, and what they show is valid, as far as no stand is needed: `tests/e2e/test_pages.py`
runs them.
"""

import ast
import json
import subprocess
from collections.abc import Iterator

import psycopg
import pytest
import yaml
from sqlalchemy import Engine

from lanes.rollouts import playbook
from lanes.workload import reading
from tests.conftest import NOON
from tests.docs.blocks import OWN, RUN, SHOWN, Block, around, blocks, docs
from tests.docs.links import TARGET, targets
from tests.docs.typed import commands, refused
from tests.examples import publish

PUBLISHED = ("tickets", "archive", "moderation", "maintenance", "letters")


def all_blocks(*languages: str) -> Iterator[Block]:
    """Those of the site and of what is read beside it, in these languages."""
    return (each for page in [*docs(), *around()] for each in blocks(page) if each.language in languages)


def test_every_block_of_the_site_says_what_it_is() -> None:
    assert [str(each) for page in docs() for each in blocks(page) if each.language not in RUN + SHOWN] == []


def test_every_block_that_is_open_is_closed() -> None:
    assert [page.name for page in docs() if sum(line.startswith("```") for line in page.read_text().splitlines()) % 2] == []


def test_a_block_is_not_run_only_where_it_waits_for_something_of_the_reader_s_own() -> None:
    left_out = [each for each in all_blocks(*RUN) if each.not_run is not None]
    assert [f"{each}: {each.not_run}" for each in left_out if not each.waits_for or each.waits_for - OWN] == []
    assert len(left_out) <= 6


def test_what_is_only_shown_hides_no_command() -> None:
    assert [f"{each}: {typed}" for each in all_blocks("text", "console") for typed in commands(each.text)] == []


@pytest.mark.parametrize("name", ["bash", "python"])
def test_what_is_to_be_run_can_be_read(name: str) -> None:
    for each in all_blocks(name):
        if name == "python":
            ast.parse(each.text, str(each))
            continue
        done = subprocess.run(["bash", "-n"], input=each.text, text=True, capture_output=True)
        assert done.returncode == 0, f"{each}: {done.stderr}"


def test_the_command_line_takes_every_command_of_a_block() -> None:
    typed = {(str(each), command) for each in all_blocks("bash", "") for command in commands(each.text)}
    assert len(typed) > 10
    assert {where: why for where, command in typed if (why := refused(command))} == {}


def test_every_target_of_a_block_is_one_of_the_makefile() -> None:
    asked = {(str(each), target) for each in all_blocks("bash", "") for target in TARGET.findall(each.text)}
    assert {target for _, target in asked} >= {"run", "setup", "test"}
    assert {each for each in asked if each[1] not in targets()} == set()


def test_yaml_is_a_workload_or_a_playbook_where_it_says_so() -> None:
    for each in all_blocks("yaml"):
        data = yaml.safe_load(each.text)
        if "instructions" in data:
            reading.read(each.text.encode(), file=str(each))
        elif "steps" in data:
            playbook.parse(data["name"], each.text)


def test_json_can_be_read() -> None:
    for each in all_blocks("json"):
        json.loads(each.text)


def test_the_database_takes_every_statement_of_a_page(pool: Engine, database_url: str) -> None:
    with pool.begin() as connection:
        for name in PUBLISHED:
            publish(connection, name, now=NOON)
    told = list(all_blocks("sql"))
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as session:
        for each in told:
            try:
                session.execute(each.text.encode())
            except psycopg.Error as error:
                pytest.fail(f"{each}: {error}")
