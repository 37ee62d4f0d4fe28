"""`lanes pause` and `lanes resume`: whether a workload's items are served."""

import json
import sys
from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from lanes import client
from lanes.commands.stand import AsJson
from lanes.errors import SetupError, UnknownWorkload
from lanes.store import steering
from lanes.store.database import clock, engine


def pause(workload: str, *, as_json: AsJson = False) -> int:
    """Serve nothing of a workload from now on. Items are admitted and routed, and wait; what is under way comes home.

    Exit code 2 when there is no such workload.
    """
    return _steer(lambda connection: steering.pause(connection, workload, now=clock(connection)), workload, as_json)


def resume(workload: str, *, as_json: AsJson = False) -> int:
    """Serve a paused workload again.

    Exit code 2 when there is no such workload.
    """
    return _steer(lambda connection: steering.resume(connection, workload), workload, as_json)


def _steer(deed: Callable[[Connection], str], workload: str, as_json: bool) -> int:
    try:
        pool = engine(client.database_url())
        with pool.begin() as connection:
            said = deed(connection)
        pool.dispose()
    except UnknownWorkload as error:
        print(str(error), file=sys.stderr)
        return 2
    except SetupError as error:
        print(str(error), file=sys.stderr)
        return 1
    except DBAPIError as error:
        print(f"the database gives no answer ({type(error.orig).__name__}): run `lanes doctor`", file=sys.stderr)
        return 1
    print(json.dumps({"workload": workload, "said": said}) if as_json else said)
    return 0
