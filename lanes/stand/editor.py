"""The blocks of workloads for the `lanes` command: read over Prefect's HTTP API, changed by the room that speaks Prefect."""

import subprocess
import sys
from typing import Any

from lanes.settings import Settings
from lanes.stand import reaching
from lanes.stand.errors import StandError
from lanes.stand.whereabouts import database_url
from lanes.workload.definition import Edit, EditReply

BLOCK_TYPE = "lanes-workload"
ROOM = ("-P", "-m", "tasks.edit")  # no folder that we stand in hides the room
ANSWER_S = 5.0
LIMIT_S = 60.0


class Editor:
    """The blocks of the Prefect server that the environment names, or else the stand of this checkout.

    Raises:
        StandError: neither names one.
    """

    def __init__(self, settings: Settings) -> None:
        reaching.prefect_url(settings)
        self._settings = settings

    def read(self, name: str) -> dict[str, Any] | None:
        """Return what the block of a workload says; None without one. StandError where Prefect gives no answer."""
        with reaching.prefect(self._settings, timeout_s=ANSWER_S) as api:
            return api.block(BLOCK_TYPE, name)

    def save(self, edit: Edit) -> EditReply:
        """Return what became of an edit.

        Raises:
            StandError: it is not known.
        """
        command = [sys.executable, *ROOM]
        environment = reaching.environment(self._settings) | {"LANES_DATABASE_URL": database_url()}
        unknown = (
            f'whether the block "{edit.name}" was saved is not known ({{why}}); '
            "the same command again shows what differs then"
        )
        try:
            done = subprocess.run(
                command,
                input=edit.as_json(),
                env=environment,
                text=True,
                capture_output=True,
                timeout=LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            raise StandError(unknown.format(why=f"no answer within {LIMIT_S:.0f} s")) from None
        if done.returncode != 0:
            why = next(iter(done.stderr.strip().splitlines()[-1:]), f"exit code {done.returncode}")
            raise StandError(unknown.format(why=why))
        return EditReply.read(done.stdout.strip().splitlines()[-1])
