"""A program that runs several commands in turn in one interpreter, so that they share the seconds of their imports.

    python -m lanes.stand.chain prefect --no-prompt deploy --all , tasks.install

runs the same commands as `python -m prefect --no-prompt deploy --all && python -m tasks.install`.
"""

import runpy
import sys
from collections.abc import Sequence

from lanes import collect_garbage_seldom

THEN = ","


def join(commands: Sequence[Sequence[str]]) -> list[str]:
    """Return the arguments of this module that run these commands."""
    words = [word for command in commands for word in (THEN, *command)]
    return words[1:]


def split(words: Sequence[str]) -> list[list[str]]:
    """Return the commands that `join` turned into these words."""
    commands: list[list[str]] = [[]]
    for word in words:
        if word == THEN:
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


def run(words: Sequence[str]) -> int:
    """Run the commands until one fails; return its exit code, or 0 if all succeed."""
    for command in split(words):
        sys.argv = list(command)
        try:
            runpy.run_module(command[0], run_name="__main__", alter_sys=True)
        except SystemExit as end:
            if end.code not in (None, 0):
                return end.code if isinstance(end.code, int) else 1
    return 0


if __name__ == "__main__":
    collect_garbage_seldom()
    sys.exit(run(sys.argv[1:]))
