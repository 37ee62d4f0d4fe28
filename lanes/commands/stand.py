"""The commands that put up, take down and look at the stand of this checkout."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from lanes.errors import SetupError
from lanes.settings import Settings

AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print data as JSON on standard output.")]

MARKS = {"running": "green", "yours": "green", "ok": "green", "silent": "red", "wrong": "red"}


def up(*, as_json: AsJson = False) -> int:
    """Start what is missing of the stand: Postgres, schema, model endpoint, Prefect, deployments, workers.

    What runs already is kept. Safe to repeat, and to call from several shells at once.
    """
    from lanes.local.progress import progress
    from lanes.local.stand import Stand

    def put_up() -> int:
        with progress() as shown:
            result = Stand(Settings.read()).up(shown)
        if as_json:
            _print_json({**asdict(result.info), "ui_url": result.info.ui_url, "started": result.started})
        else:
            print(f"Prefect UI: {result.info.ui_url}")
        return 0

    return _guarded(put_up)


def down(*, as_json: AsJson = False) -> int:
    """Stop everything that the stand started. Your own database and Prefect are not touched."""
    from lanes.local.progress import progress
    from lanes.local.stand import Stand

    def take_down() -> int:
        with progress() as shown:
            ended = Stand(Settings.read()).down(shown)
        if as_json:
            _print_json({"stopped": ended})
        elif not ended:
            print("nothing was running")
        return 0

    return _guarded(take_down)


def status(*, as_json: AsJson = False) -> int:
    """Show each component of the stand: whether it answers, where, and where its log lies.

    Exit code 1 when something that should run does not answer.
    """
    from lanes.local.stand import Stand
    from lanes.local.status import Condition, status

    def look() -> int:
        components = status(Stand(Settings.read()))
        if as_json:
            _print_json([asdict(component) for component in components])
        else:
            console = Console(highlight=False, soft_wrap=True)
            for each in components:
                where = {"port": each.port, "pid": each.pid, "log": each.log}
                said = ", ".join(f"{name} {value}" for name, value in where.items() if value is not None)
                _print_line(console, each.condition, each.name, f"{each.detail}{f' ({said})' if said else ''}")
        well = {Condition.RUNNING, Condition.YOURS}
        return 0 if all(each.condition in well for each in components) else 1

    return _guarded(look)


def doctor(*, as_json: AsJson = False) -> int:
    """Check settings, database, schema, Prefect, workers, deployments, blocks, provider, models and Slack.

    Each is ok, or one sentence says what is wrong and what to do. Exit code 1 when something is wrong.
    """
    from lanes.local.doctor import all_well, examine

    findings = examine()
    if as_json:
        _print_json([asdict(finding) for finding in findings])
    else:
        console = Console(highlight=False, soft_wrap=True)
        for each in findings:
            _print_line(console, each.verdict, each.check, each.sentence)
    return 0 if all_well(findings) else 1


def _guarded(command: Callable[[], int]) -> int:
    """The command's exit code; what is wrong is said in one sentence, after the end of its log."""
    try:
        return command()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        print(f"the variable {first['loc'][0]} cannot be read: {first['msg']}", file=sys.stderr)
        return 2
    except SetupError as error:
        tail = getattr(error, "tail", lambda: "")()
        log = getattr(error, "log", None)
        if tail:
            print(f"--- the end of {log}\n{tail}\n---", file=sys.stderr)
        print(str(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: what this command had started was stopped again", file=sys.stderr)
        return 1


def _print_line(console: Console, state: str, name: str, sentence: str) -> None:
    console.print(f"[{MARKS.get(state, 'yellow')}]{state:<10}[/] {name:<15} {escape(sentence)}")


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, default=str))
