"""The `lanes` command: each subcommand is a function of `lanes.commands`, which is imported when it is called."""

import ast
import os
import sys
from functools import cache
from importlib.util import find_spec
from typing import Any

from cyclopts import App, Parameter

from lanes import collect_garbage_seldom
from lanes.text import VisibleStream, make_logs_visible

COMMANDS = (
    "stand:up",
    "stand:down",
    "stand:deploy",
    "stand:worker",
    "status:status",
    "status:report",
    "status:digest",
    "stand:doctor",
    "run:run",
    "items:submit",
    "forecast:quote",
    "forecast:dry_run",
    "items:explain",
    "items:retry",
    "items:cancel",
    "items:forget",
    "items:jobs",
    "items:job",
    "advise:advise",
    "advise:proposals",
    "alerts:alerts",
    "webhooks:webhooks",
    "figures:why",
    "labels:accept_quality",
    "figures:figures",
    "figures:metrics",
    "spending:budget",
    "spending:overhead",
    "init:init",
    "preview:preview",
    "publish:publish",
    "publish:export",
    "labels:golden",
    "labels:review",
    "batches:batches",
    "batches:adopt",
    "batches:resubmit",
    "batches:give_up",
    "results:results",
    "results:archive",
    "batches:depart",
    "stand:url",
    "stand:psql",
    "stand:prefect",
    "stand:roles",
    "steering:pause",
    "steering:resume",
    "steering:split",
    "steering:rollout",
    "plan:plan",
    "replay:replay",
    "replay:diff",
    "replay:promote",
    "replay:demote",
    "replay:drop",
)


def main() -> None:
    """Run the command line and exit with the command's code: 0 for success, 1 for failure, 2 for wrong usage.

    If the reader closes the output (`lanes results | head`), exit with 1 without a message.
    """
    collect_garbage_seldom()
    make_logs_visible()
    sys.stdout, sys.stderr = VisibleStream(sys.stdout), VisibleStream(sys.stderr)  # pyright: ignore[reportAttributeAccessIssue]
    overview = not set(sys.argv[1:]) - {"--help", "-h"}
    try:
        code = (_commands(summaries=True) if overview else app)() or 0
        sys.stdout.flush()
    except BrokenPipeError:
        # redirect the unwritten rest to the null device, so that the flush at exit does not fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


class _ErrorConsole:
    """A console for usage errors, created on first use because rich is slow to import."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_error_console(), name)


@cache
def _error_console() -> Any:
    from lanes.stand.progress import Console

    return Console(stderr=True)


def _commands(*, summaries: bool) -> App:
    """Return the command line, whose commands are imported when called; `summaries` adds the texts of the overview."""
    of_all = App(
        name="lanes",
        help="Answers LLM work now, or cheaply later.",
        result_action="return_value",
        error_console=_ErrorConsole(),  # pyright: ignore[reportArgumentType]
    )
    for command in COMMANDS:
        of_all.command(
            f"lanes.commands.{command}",
            help=_summary(command) if summaries else None,
            default_parameter=Parameter(negative=""),
        )
    return of_all


def _summary(command: str) -> str:
    """Return the first sentence of a command's docstring from its source, so that the overview imports no command."""
    module, _, name = command.partition(":")
    docstring = next(ast.get_docstring(node) for node in _functions(module) if node.name == name)
    return (docstring or "").partition("\n\n")[0]


@cache
def _functions(module: str) -> list[ast.FunctionDef]:
    spec = find_spec(f"lanes.commands.{module}")
    assert spec is not None
    assert spec.origin is not None
    with open(spec.origin, encoding="utf-8") as source:
        return [node for node in ast.parse(source.read()).body if isinstance(node, ast.FunctionDef)]


app = _commands(summaries=False)
