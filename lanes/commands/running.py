"""The frame of all commands: open the database, print text, JSON or rows, and report errors in one sentence."""

import getpass
import json
import os
import select
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from pydantic import ValidationError

from lanes.errors import LanesError, SetupError, SpecInvalid, UnknownItem, UnknownWorkload
from lanes.text import strip_controls

# A program that requests JSON must not wait for the import of the drawing libraries.
if TYPE_CHECKING:
    from datetime import datetime

    from rich.status import Status
    from sqlalchemy import Connection, Engine

    from lanes.commands.actions import Done, PersonAction
    from lanes.report.table import Table
    from lanes.stand.progress import Console
    from lanes.workload.definition_file import NamedSpec

P = ParamSpec("P")
MARKS = {"running": "green", "yours": "green", "ok": "green", "set": "green", "online": "green"}
MARKS |= {"silent": "red", "wrong": "red"}


class WrongUsage(ValueError):
    """A call that cannot be carried out as written; the message says what to write instead."""


def command(run: Callable[P, int | None]) -> Callable[P, int]:
    """Return the function as a command: it returns its exit code, and prints an error as one sentence on standard error.

    The exit code is the function's own, by default 0; 2 for wrong usage or an unknown workload, item or job; 1 for any other
    error of Lanes.
    """

    @wraps(run)
    def call(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return run(*args, **kwargs) or 0
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            return refuse(f"the variable {first['loc'][0]} cannot be read: {first['msg']}")
        except WrongUsage as error:
            return refuse(error)
        except LanesError as error:
            tail = getattr(error, "tail", lambda: "")()
            log = f"--- the end of {getattr(error, 'log', None)}\n{tail}\n---" if tail else ""
            notes = getattr(error, "__notes__", ())
            print(*filter(None, [log, str(error), *notes]), sep="\n", file=sys.stderr)
            return 2 if isinstance(error, UnknownWorkload | UnknownItem) else 1

    return call


@contextmanager
def database(*, direct: bool = False) -> "Iterator[Engine]":
    """Open the database of Lanes; `direct` bypasses the pooler.

    Errors within the block name the variable by which this shell differs from the stand.
    """
    from sqlalchemy.exc import DBAPIError

    from lanes.stand.whereabouts import database_url
    from lanes.store.database import engine

    try:
        pool = engine(database_url(direct=direct))
        try:
            yield pool
        except DBAPIError as error:
            message = f"the database gives no answer ({type(error.orig).__name__})"
            raise SetupError(f"{message}: run `lanes doctor`") from error
        finally:
            pool.dispose()
    except LanesError as error:
        for sentence in _conflicts():
            error.add_note(sentence)
        raise


@contextmanager
def transaction() -> "Iterator[tuple[Connection, datetime]]":
    """Open a transaction on the database of Lanes, and yield it with its clock's time."""
    from lanes.store.database import clock

    with database() as pool, pool.begin() as connection:
        yield connection, clock(connection)


def _conflicts() -> list[str]:
    """Return the settings by which this shell uses another database than the stand, as sentences."""
    from lanes.settings import Settings
    from lanes.stand.kept import DATABASE
    from lanes.stand.runs_with import conflicts
    from lanes.stand.whereabouts import find_checkout, find_home

    with suppress(ValidationError):
        settings = Settings.read()
        found = conflicts(settings, find_home(settings, find_checkout().resolve()))
        return [each.sentence for each in found if each.variable == DATABASE]
    return []


def perform(
    kind: "type[PersonAction]", workload: str, why: str, as_json: bool, **given: Any
) -> int:
    """Perform an action that a person typed and print the outcome; return exit code 1 if a part was not done."""
    from lanes.store.database import clock, retry_deadlocks

    try:
        action = kind(**{"workload": workload, "who": getpass.getuser(), "why": why, **given})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise WrongUsage(f"{first['loc'][0]}: {first['msg']}") from None

    with database() as pool:

        def once() -> "Done":
            with pool.begin() as connection:
                return action.perform(connection, clock(connection))

        while (done := retry_deadlocks(once)).left:
            pass
    tell(done.message, {"workload": workload, "said": done.message, **done.data}, as_json=as_json)
    return 0 if done.whole else 1


def refuse(sentence: object) -> int:
    """Print why a call is wrong, and return its exit code."""
    print(sentence, file=sys.stderr)
    return 2


def print_json(value: object) -> None:
    """Print the value as JSON; values without a JSON type are written as text."""
    print(strip_controls(json.dumps(value, indent=2, default=str)))


def tell(sentence: str, data: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the data for programs, or the sentence for people."""
    if as_json:
        print_json(data)
    else:
        print(sentence)


def check_file(file: Path) -> None:
    """Raise WrongUsage if the file does not exist."""
    if not file.is_file():
        raise WrongUsage(f'there is no file "{file}"')


def read_definition(file: Path, refusal: str) -> "NamedSpec":
    """Return the workload that a YAML file defines; its faults are listed below `refusal` in a SetupError."""
    from lanes.workload import definition_file

    check_file(file)
    try:
        return definition_file.read(definition_file.read_bytes(file), file=file.name)
    except SpecInvalid as invalid:
        lines = [f"{file} {refusal}:", *(f"  {each}" for each in invalid.problems)]
        raise SetupError("\n".join(lines)) from None


def screen(width: int, **how: Any) -> "Console":
    """Return a console on standard output, as wide as the terminal, or else `width` characters."""
    from lanes.stand.progress import Console

    return Console(width=None if sys.stdout.isatty() else width, **how)


def print_table(table: "Table[Any]", *, width: int) -> None:
    """Print all rows of a table, with a legend of its figures."""
    from lanes.report.table import render_terminal

    shown = render_terminal(table, below=table.legend, most=len(table.rows))
    screen(width, highlight=False, markup=False).print(shown)


def print_line(console: "Console", state: str, name: str, sentence: str) -> None:
    """Print one component with its state."""
    from rich.markup import escape

    console.print(f"[{MARKS.get(state, 'yellow')}]{state:<10}[/] {name:<15} {escape(sentence)}")


def put(text: str, out: Path | None, *, force: bool) -> None:
    """Write the text to the file or to standard output; overwrite a file with other content only if forced.

    Raises:
        SetupError: the file exists with other content, or cannot be written.
    """
    if out is None:
        print(text, end="")
        return
    if out.exists() and not force and out.read_bytes() != text.encode():
        raise SetupError(f'"{out}" is there already and says something else; --force overwrites it')
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SetupError(f'"{out}" cannot be written: {error.strerror}') from error


PATIENCE_S = 1.0  # time before the first progress report
TOLD_EVERY_S = 10.0  # time between progress reports that cannot be updated in place


class ReaderLeft(Exception):
    """The reader has closed the pipe, as `| head` does; this is not an error."""


class Outlet:
    """Standard output in UTF-8, whichever encoding the locale sets."""

    def write(self, text: str) -> None:
        """Write the text to the reader.

        Raises:
            ReaderLeft: the reader has closed the pipe.
            SetupError: the write failed, for example because the disk is full.
        """
        try:
            sys.stdout.buffer.write(text.encode())
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            _drop_the_rest()
            raise ReaderLeft from None
        except OSError as error:
            _drop_the_rest()
            raise SetupError(
                f"standard output failed ({error.strerror}): the output is incomplete"
            ) from error

    def look(self) -> None:
        """Check that the reader has not closed the pipe, if the system can tell.

        Raises:
            ReaderLeft: the other end of the pipe is closed.
        """
        if not hasattr(select, "poll") or not stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
            return
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
            _drop_the_rest()
            raise ReaderLeft


class Counting:
    """A progress report on standard error: how many rows were written so far.

    Rows are reported only if standard output is redirected, other things always, and both only if writing takes a while.
    """

    def __init__(self, what: str, done: str | None = None) -> None:
        self._what, self._done, self._count = what, done or "written so far", 0
        self._next = time.monotonic() + PATIENCE_S
        self._status: Status | None = None
        self._silent = done is None and sys.stdout.isatty()

    def add(self, number: int) -> None:
        """Count `number` more rows."""
        self._count += number
        now = time.monotonic()
        if self._silent or now < self._next:
            return
        from lanes.stand.progress import Console

        console = Console(stderr=True)
        message = f"{self._what}: {self._count:,} {self._done}"
        if not console.is_terminal:
            self._next = now + TOLD_EVERY_S
            print(message, file=sys.stderr, flush=True)
        elif self._status is None:
            self._status = console.status(message)
            self._status.start()
        else:
            self._status.update(message)

    def close(self) -> None:
        """Remove the progress report from the terminal."""
        if self._status is not None:
            self._status.stop()
            self._status = None


@contextmanager
def counting(what: str, done: str | None = None) -> Iterator[Counting]:
    """Report how many rows were written so far, or counted in the words of `done`."""
    counter = Counting(what, done)
    try:
        yield counter
    finally:
        counter.close()


def _drop_the_rest() -> None:
    """Discard buffered output, so that the exit of the process does not fail on a closed pipe or a full disk."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
