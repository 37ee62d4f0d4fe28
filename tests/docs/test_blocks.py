"""Tests of the pages' blocks that need no stand: commands and code can be parsed, and shown data is valid.

`tests/e2e/test_pages.py` runs the blocks.
"""

import ast
import json
import re
import subprocess
from collections.abc import Iterator

import psycopg
import pytest
import yaml
from sqlalchemy import Engine

from lanes.cli import app
from lanes.rollouts import playbook
from lanes.workload import definition_file
from tests.conftest import NOON
from tests.docs.account import account
from tests.docs.blocks import CHECKOUT, RUN, SHOWN, FencedBlock, around, blocks, docs, named, to_run
from tests.docs.links import TARGET, codes, targets
from tests.docs.typed import commands, refused
from tests.e2e import test_pages
from tests.examples import publish

PAGES = [*docs(), *around()]
PROMPT = re.compile(
    r"^(?:[$>] |(?:make|curl|psql|prefect|python3?|pip|git|docker|export|cat) ).*", re.MULTILINE
)
ELSEWHERE = {
    "up": "tests/running_stand.py",
    "down": "tests/running_stand.py",
    "run": "tests/e2e/test_sample_run.py",
    "worker": "tests/deployments/test_hosts.py",
    "accept-quality": "tests/store/figures/test_quality.py",
    "adopt": "tests/store/batch/test_batch_commands.py",
    "resubmit": "tests/store/batch/test_batch_commands.py",
    "give-up": "tests/store/batch/test_batch_commands.py",
}
PUBLISHED = ("tickets", "archive", "moderation", "maintenance", "letters")


def all_blocks(*languages: str) -> Iterator[FencedBlock]:
    """Return the blocks in these languages, on pages of the site and of the checkout itself."""
    return (each for page in PAGES for each in blocks(page) if each.language in languages)


def test_every_block_names_a_known_language() -> None:
    assert [
        str(each) for page in PAGES for each in blocks(page) if each.language not in RUN + SHOWN
    ] == []


def test_every_fence_is_in_a_form_that_the_block_parser_recognizes() -> None:
    odd = re.compile(r"^(?:[ >]+```|\s*~~~|```+[\w-]*[^\w`\n-])", re.MULTILINE)
    assert [page.name for page in PAGES if odd.search(page.read_text())] == []
    assert [
        page.name
        for page in PAGES
        if sum(line.startswith("```") for line in page.read_text().splitlines()) % 2
    ] == []


def test_a_block_is_left_out_only_if_it_needs_the_reader_s_own_resources() -> None:
    left_out = [each for each in all_blocks(*RUN) if each.not_run is not None]
    assert [f"{each}: {each.not_run}" for each in left_out if not each.may_be_left_out] == []
    assert len(left_out) <= 6


def test_every_page_with_blocks_to_run_is_run_by_a_test() -> None:
    assert {named(page) for page in PAGES if to_run(page)} == {
        *test_pages.PAGES,
        "docs/tutorial.md",
        "README.md",
    }
    assert (
        account()
        .splitlines()[-1]
        .startswith(f"{sum(len(to_run(page)) for page in PAGES)} blocks are run")
    )


def test_text_and_console_blocks_contain_no_commands() -> None:
    shown = list(all_blocks("text", "console"))
    assert [f"{each}: {typed}" for each in shown for typed in commands(each.text)] == []
    assert [f"{each}: {typed}" for each in shown for typed in PROMPT.findall(each.text)] == []


@pytest.mark.parametrize("name", ["bash", "python"])
def test_bash_and_python_blocks_have_valid_syntax(name: str) -> None:
    for each in all_blocks(name):
        if name == "python":
            ast.parse(each.text, str(each))
            continue
        done = subprocess.run(["bash", "-n"], input=each.text, text=True, capture_output=True)
        assert done.returncode == 0, f"{each}: {done.stderr}"


def test_the_command_line_accepts_every_command_in_a_block() -> None:
    typed = {(str(each), command) for each in all_blocks("bash") for command in commands(each.text)}
    assert len(typed) > 10
    assert {where: why for where, command in typed if (why := refused(command))} == {}


def test_every_command_is_run_by_a_page_or_by_a_test_listed_here() -> None:
    typed = {
        command.split()[0]
        for each in all_blocks("bash")
        if each.is_run
        for command in commands(each.text)
    }
    assert not typed & ELSEWHERE.keys()
    assert typed | ELSEWHERE.keys() == {name for name in app if not name.startswith("-")}
    assert [
        where
        for name, where in ELSEWHERE.items()
        if f'"{name}"' not in (CHECKOUT / where).read_text()
    ] == []


def test_every_make_target_in_a_block_exists_in_the_makefile() -> None:
    asked = {
        (str(each), target) for each in all_blocks("bash") for target in TARGET.findall(each.text)
    }
    assert {target for _, target in asked} >= {"run", "setup", "test"}
    assert {each for each in asked if each[1] not in targets()} == set()


def test_yaml_blocks_with_instructions_or_steps_are_valid_workloads_or_playbooks() -> None:
    for each in all_blocks("yaml"):
        data = yaml.safe_load(each.text)
        if "instructions" in data:
            definition_file.read(each.text.encode(), file=str(each))
        elif "steps" in data:
            playbook.parse(data["name"], each.text)


def test_json_blocks_have_valid_syntax() -> None:
    for each in all_blocks("json"):
        json.loads(each.text)


def test_the_database_accepts_every_sql_statement_of_a_page(
    pool: Engine, database_url: str
) -> None:
    with pool.begin() as connection:
        for name in PUBLISHED:
            publish(connection, name, now=NOON)
    told = [(str(each), each.text) for each in all_blocks("sql")]
    told += [
        (named(page), code) for page in PAGES for code in codes(page) if code.startswith("select ")
    ]
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as session:
        for where, statement in told:
            try:
                session.execute(statement.encode())
            except psycopg.Error as error:
                pytest.fail(f"{where}: {error}")
