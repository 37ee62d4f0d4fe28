"""`lanes pause` and `lanes resume`: whether a workload's items are served."""

from collections.abc import Callable

from sqlalchemy import Connection, Engine

from lanes.commands.guarded import on_database
from lanes.commands.output import AsJson, print_json
from lanes.store.database import clock
from lanes.store.rollouts import steering


def pause(workload: str, *, as_json: AsJson = False) -> int:
    """Serve nothing of a workload from now on. Items are admitted and routed, and wait; what is under way comes home.

    Exit code 2 when there is no such workload.
    """
    return _steer(
        lambda connection: steering.pause(connection, workload, now=clock(connection)),
        workload,
        as_json,
    )


def resume(workload: str, *, as_json: AsJson = False) -> int:
    """Serve a paused workload again.

    Exit code 2 when there is no such workload.
    """
    return _steer(lambda connection: steering.resume(connection, workload), workload, as_json)


def _steer(deed: Callable[[Connection], str], workload: str, as_json: bool) -> int:
    def steer(pool: Engine) -> int:
        with pool.begin() as connection:
            said = deed(connection)
        if as_json:
            print_json({"workload": workload, "said": said})
        else:
            print(said)
        return 0

    return on_database(steer)
