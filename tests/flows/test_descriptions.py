"""What a deployment's page says: what it is, in three lines when to use it, and links to what it makes."""

import json
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml

from lanes.cli import app
from lanes.report import outage
from lanes.report.links import DETAILS, REPORT
from lanes.standing.runs import Deployment

CHECKOUT = Path(__file__).parents[2]
DECLARED = {
    each["name"]: each
    for each in yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
}
TAGS = {tag for each in DECLARED.values() for tag in each["tags"]}
SOURCE = "\n".join(
    file.read_text()
    for room in ("lanes", "tasks")
    for file in sorted((CHECKOUT / room).rglob("*.py"))
)
LINK = re.compile(r"\]\(([^)]+)\)")


def parts(name: str) -> list[str]:
    """The paragraphs of its description."""
    return DECLARED[name]["description"].strip().split("\n\n")


@pytest.mark.parametrize("name", DECLARED)
def test_it_says_what_it_is_then_in_three_lines_when_to_use_it_then_what_it_makes(
    name: str,
) -> None:
    first, when, makes, *_ = parts(name)
    assert re.fullmatch(r"\*\*[A-Z][^*]+\.\*\* [^\n]+", first)
    assert len(re.findall(r"^- ", when, re.MULTILINE)) == 3
    assert makes.startswith("**It makes**: ")
    assert LINK.search(makes)


@pytest.mark.parametrize("name", DECLARED)
def test_every_link_of_a_description_leads_to_what_there_is(name: str) -> None:
    for link in LINK.findall(DECLARED[name]["description"]):
        at = urlsplit(link)
        asked = dict(parse_qsl(at.query))
        match at.path.split("/")[2:]:
            case ["events"]:
                (event,) = json.loads(asked["events"])
                assert f'"{event}"' in SOURCE or f'"{event.rpartition(".")[2]}"' in SOURCE, link
            case ["runs"]:
                assert asked["tags"] in TAGS, link
            case ["artifacts", "key", key]:
                assert key in (REPORT, DETAILS, outage.KEY), link
            case ["artifacts"]:
                assert f'f"{asked["name"]}{{' in SOURCE, link
            case ["deployments"]:
                assert any(asked["flowOrDeploymentName"] in each.value for each in Deployment), link
            case _:
                pytest.fail(f"{link} leads to no page that is known here")


@pytest.mark.parametrize("name", DECLARED)
def test_every_command_and_deployment_of_a_description_exists(name: str) -> None:
    for said in re.findall(r"`([^`]+)`", DECLARED[name]["description"]):
        first, *rest = said.split()
        if first == "lanes":
            assert app[rest[0]], said
        else:
            assert first in DECLARED or said in SOURCE, said
