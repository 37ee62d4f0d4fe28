"""What a run of the main job leaves its reader with: links that open what they name, and three commands to copy."""

import json
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self
from uuid import uuid4

from rich.text import Text

from lanes.settling.listing import AnswerExample
from lanes.stand.console import Console
from lanes.stand.info import StandInfo
from lanes.stand.login import OF_STAND
from lanes.text import plain

RUNS = "/v2/runs"  # of the past week; with a filter the interface shows what is scheduled first
FORMS = "/v2/deployments"
QUESTION = "Where is my parcel? The tracking has not moved since Monday."


@dataclass(frozen=True)
class Step:
    """Something to do next, and the command that does it."""

    title: str
    command: str


@dataclass(frozen=True)
class Surroundings:
    """Where somebody stands who reads on: how `lanes` is called there, and Prefect's addresses."""

    lanes: str
    api_url: str
    ui_url: str
    login: Path | None  # the file that holds the login of the stand's own Prefect
    stays_up: bool  # the stand, whatever becomes of this run: somebody else put it up

    @classmethod
    def of(cls, environment: Mapping[str, str], up: StandInfo) -> Self:
        """As the shell has it that started this process with that environment."""
        called, api_url = program(environment, Path.cwd()), up.prefect_api_url.rstrip("/")
        own = up.home / OF_STAND if "prefect" in up.embedded else None
        return cls(called, api_url, up.ui_url, own, stays_up=not up.transient)


def program(environment: Mapping[str, str], here: Path) -> str:
    """How the `lanes` of this installation is called from `here`: by its name where a shell finds it, else by its path."""
    own = Path(sys.executable).parent / "lanes"
    found = shutil.which("lanes", path=environment.get("PATH", ""))
    if found is not None and Path(found).absolute() == own:
        called = "lanes"
    else:
        called = shlex.quote(str(own.relative_to(here) if own.is_relative_to(here) else own))
    home = environment.get("LANES_HOME")
    return f"LANES_HOME={shlex.quote(home)} {called}" if home else called


def next_steps(
    at: Surroundings,
    workload: str,
    examples: Sequence[AnswerExample],
    *,
    field: str = "text",
    now: datetime,
) -> list[Step]:
    """Commands for the answers, for the story of one of the items, and for an event of one's own."""
    steps = [Step("read the answers", f"{at.lanes} results {shlex.quote(workload)}")]
    told = [
        each for each in examples if plain(each.key, most=200) == each.key
    ]  # what can be copied from a terminal
    for each in sorted(told, key=lambda each: not each.was)[:1]:
        story = f"{at.lanes} explain {shlex.quote(each.workload)} {shlex.quote(each.key)}"
        steps.append(Step("see what happened to one item, and why", story))
    mine = f"mine-{now:%m%d-%H%M%S}"
    story = f"{at.lanes} explain {shlex.quote(workload)} {mine}"
    event = own_event(at, workload, field, mine, now)
    return [*steps, Step(f"send an event of your own; seconds later `{story}` tells of it", event)]


def own_event(at: Surroundings, workload: str, field: str, key: str, now: datetime) -> str:
    """A call of curl that sends one urgent item as an event."""
    event = {
        "id": str(uuid4()),
        "occurred": now.isoformat(timespec="seconds"),
        "event": "lanes.item.arrived",
        "resource": {"prefect.resource.id": f"lanes.workload.{workload}"},
        "payload": {"key": key, "payload": {field: QUESTION}, "urgent": True},
    }
    lines = ",\n  ".join(
        f"{json.dumps(name)}: {json.dumps(value)}" for name, value in event.items()
    )
    login = f'-K "$({at.lanes} url prefect --curl-config)"'
    return f"curl -fsS {login} {at.api_url}/events -H 'content-type: application/json' -d {shlex.quote(f'[{{{lines}}}]')}"


def print_farewell(
    console: Console, at: Surroundings, steps: Sequence[Step], *, report_page: str, stays: bool
) -> None:
    """Links and steps, as they can be clicked and copied: never wrapped by us, never read as markup."""

    def line(*parts: str | tuple[str, str]) -> None:
        console.print(Text.assemble(*parts), soft_wrap=True, highlight=False)

    line()
    for name, page in (
        ("Report with charts", report_page),
        ("Runs", RUNS),
        ("Deployments, with forms", FORMS),
    ):
        line((f"{name:<24}", "bold"), (f"{at.ui_url}{page}", "underline"))
    if at.login is not None:
        line(
            (f"{'Login, asked for once':<24}", "bold"),
            f"the text between the quotation marks in {at.login}",
        )
    line()
    if stays or at.stays_up:
        line(("What next", "bold"))
    else:
        line(
            ("What next", "bold"),
            f", once `{at.lanes} up` has started the stand again with all that is in it",
        )
    for number, step in enumerate(steps, 1):
        line(f"{number}. {step.title}")
        line(("   " + step.command.replace("\n", "\n   "), "cyan"))
