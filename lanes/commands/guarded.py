"""Runs a command so that what goes wrong is one sentence on standard error and an exit code."""

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from pydantic import ValidationError

from lanes.errors import LanesError, SetupError, UnknownItem, UnknownWorkload

if TYPE_CHECKING:
    from sqlalchemy import Engine


def guarded(command: Callable[[], int]) -> int:
    """The exit code of a command of the stand; the end of the log that it points to comes first."""
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
    """The exit code of a command that asks the database: 1 when it is refused, 2 when there is no such workload or item."""
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
    """Where it was not that of the stand, one knows: this shell says another."""
    from lanes.settings import Settings
    from lanes.stand.kept import DATABASE
    from lanes.stand.runs_with import conflicts
    from lanes.stand.whereabouts import find_checkout, find_home

    with suppress(ValidationError):
        settings = Settings.read()
        for each in conflicts(settings, find_home(settings, find_checkout().resolve())):
            if each.variable == DATABASE:
                print(each.sentence, file=sys.stderr)
