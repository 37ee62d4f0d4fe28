"""The `lanes` command: each subcommand is a function of `lanes.commands`, loaded when it is called."""

import sys

from cyclopts import App

COMMANDS = (
    "stand:up", "stand:down", "status:status", "stand:doctor", "run:run", "submit:submit", "forecast:quote",
    "forecast:dry_run", "items:explain", "items:retry", "items:cancel", "items:forget", "advise:advise", "alerts:alerts",
    "init:init", "preview:preview", "publish:publish", "export:export",
    "batches:batches", "batches:adopt", "batches:resubmit", "batches:give_up",
    "results:results", "depart:depart", "places:url", "places:psql",
    "pause:pause", "pause:resume", "replay:replay", "replay:diff", "replay:promote", "replay:demote", "replay:drop",
)  # fmt: skip

app = App(name="lanes", help="Answers LLM work now, or cheaply later.", result_action="return_value")
for command in COMMANDS:
    app.command(f"lanes.commands.{command}")


def main() -> None:
    """Runs the command line; the process exits with the command's code: 0 well, 1 failed, 2 wrong usage."""
    if not set(sys.argv[1:]) - {"--help", "-h"}:
        for name in app:
            _ = app[name]  # loaded, because the overview describes every command
    sys.exit(app() or 0)
