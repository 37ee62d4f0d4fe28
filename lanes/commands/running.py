"""How commands run and answer: on the database, with one sentence for an error, in text or JSON."""

import getpass
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lanes.errors import LanesError, SetupError, UnknownItem, UnknownWorkload
from lanes.text import in_json

if TYPE_CHECKING:  # a program that asks for JSON does not wait for what draws
    from sqlalchemy import Engine

    from lanes.commands.actions import Done, PersonAction
    from lanes.stand.console import Console

MARKS = {
    "running": "green",
    "yours": "green",
    "ok": "green",
    "set": "green",
    "silent": "red",
    "wrong": "red",
}


def guarded(command: Callable[[], int]) -> int:
    """Return the exit code of a command of the stand; print the end of a log that explains a failure."""
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


def on_database(command: "Callable[[Engine], int]") -> int:
    """Return the exit code of a command on the database: 1 when it is refused, 2 for an unknown workload or item."""
    from sqlalchemy.exc import DBAPIError

    from lanes.stand.whereabouts import database_url
    from lanes.store.database import engine

    try:
        pool = engine(database_url())
        try:
            return command(pool)
        finally:
            pool.dispose()
    except (UnknownWorkload, UnknownItem) as error:
        print(str(error), file=sys.stderr)
        _tell_whose_database()
        return 2
    except LanesError as error:
        print(str(error), file=sys.stderr)
    except DBAPIError as error:
        print(
            f"the database gives no answer ({type(error.orig).__name__}): run `lanes doctor`",
            file=sys.stderr,
        )
    _tell_whose_database()
    return 1


def _tell_whose_database() -> None:
    """Say where this shell names another database than the stand's."""
    from lanes.settings import Settings
    from lanes.stand.kept import DATABASE
    from lanes.stand.runs_with import conflicts
    from lanes.stand.whereabouts import find_checkout, find_home

    with suppress(ValidationError):
        settings = Settings.read()
        for each in conflicts(settings, find_home(settings, find_checkout().resolve())):
            if each.variable == DATABASE:
                print(each.sentence, file=sys.stderr)


def perform(
    kind: "type[PersonAction]", workload: str, why: str, as_json: bool, **given: Any
) -> int:
    """Perform an action that a person types, and say what is true then; exit code 1 where a part of it was not done."""
    from lanes.store.database import clock
    from lanes.store.locks import repeated

    def attempt(pool: "Engine") -> int:
        def once() -> "Done":
            with pool.begin() as connection:
                return action.perform(connection, clock(connection))

        try:
            action = kind(workload=workload, who=getpass.getuser(), why=why, **given)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            return refuse(f"{first['loc'][0]}: {first['msg']}")
        done = repeated(once)
        tell(done.said, {"workload": workload, "said": done.said, **done.data}, as_json=as_json)
        return 0 if done.whole else 1

    return on_database(attempt)


def refuse(sentence: object) -> int:
    """Say what is wrong with a call, and return its exit code."""
    print(sentence, file=sys.stderr)
    return 2


def print_json(value: object) -> None:
    """Print the value; what JSON does not know is written as text."""
    print(in_json(json.dumps(value, indent=2, default=str)))


def tell(said: str, data: Mapping[str, Any], *, as_json: bool) -> int:
    """Print the data for programs or the sentence for people, and return exit code 0."""
    if as_json:
        print_json(data)
    else:
        print(said)
    return 0


def screen(width: int, **how: Any) -> "Console":
    """Return standard output to draw on: as wide as the terminal, else `width` characters."""
    from lanes.stand.console import Console

    return Console(width=None if sys.stdout.isatty() else width, **how)


def print_line(console: "Console", state: str, name: str, sentence: str) -> None:
    """Print one thing and its state."""
    from rich.markup import escape

    console.print(f"[{MARKS.get(state, 'yellow')}]{state:<10}[/] {name:<15} {escape(sentence)}")


def put(text: str, out: Path | None, *, force: bool) -> int:
    """Write the text to the file or to standard output; overwrite a file that says something else only by force."""
    if out is None:
        print(text, end="")
        return 0
    if out.exists() and not force and out.read_bytes() != text.encode():
        print(
            f'"{out}" is there already and says something else; --force overwrites it',
            file=sys.stderr,
        )
        return 1
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f'"{out}" cannot be written: {error.strerror}', file=sys.stderr)
        return 1
    return 0
