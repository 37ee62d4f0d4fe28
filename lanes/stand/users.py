"""Which runs use a stand at this moment, so that the last one may turn off the light."""

import json
import os
from pathlib import Path

from lanes.stand.identity import birth_mark, is_same


class Users:
    """One small file per run in `folder`; a run that died is not counted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def enter(self) -> None:
        """This process uses the stand from now on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._mine.write_text(json.dumps({"pid": os.getpid(), "mark": birth_mark(os.getpid())}))

    def leave(self) -> None:
        self._mine.unlink(missing_ok=True)

    def others(self) -> list[int]:
        """The pids of the other runs that use the stand; files of dead ones are removed."""
        alive: list[int] = []
        for file in self.folder.glob("*.json"):
            try:
                said = json.loads(file.read_text())
                pid, mark = int(said["pid"]), str(said["mark"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if not is_same(pid, mark):
                file.unlink(missing_ok=True)
            elif pid != os.getpid():
                alive.append(pid)
        return alive

    @property
    def _mine(self) -> Path:
        return self.folder / f"{os.getpid()}.json"
