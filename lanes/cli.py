"""The `lanes` command: each subcommand is a function of `lanes.commands`."""

import sys

from cyclopts import App

from lanes.commands import forecast, items, replay, stand
from lanes.commands.advise import advise
from lanes.commands.alerts import alerts
from lanes.commands.pause import pause, resume
from lanes.commands.run import run
from lanes.commands.status import status
from lanes.commands.submit import submit

app = App(name="lanes", help="Answers LLM work now, or cheaply later.", result_action="return_value")
for command in (stand.up, stand.down, status, stand.doctor, run, submit, advise, alerts, pause, resume):
    app.command(command)
for command in (forecast.quote, forecast.dry_run):
    app.command(command)
for command in (items.explain, items.retry, items.cancel, items.forget):
    app.command(command)
for command in (replay.replay, replay.diff, replay.promote, replay.demote, replay.drop):
    app.command(command)


def main() -> None:
    """Runs the command line; the process exits with the command's code: 0 well, 1 failed, 2 wrong usage."""
    sys.exit(app() or 0)
