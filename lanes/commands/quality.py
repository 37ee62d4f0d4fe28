"""The command, and the form, that accept answers which have changed."""

from datetime import datetime

from sqlalchemy import Connection

from lanes.commands.actions import Done, PersonAction
from lanes.commands.options import NONE_GIVEN, AsJson, Why
from lanes.commands.running import command, perform
from lanes.store.promises import recording
from lanes.words import Signature


class AcceptQuality(PersonAction):
    """Make the answers from now on the reference of every figure that has drifted."""

    def perform(self, connection: Connection, now: datetime) -> Done:
        by = Signature(self.who, self.why, now)
        return Done(recording.accept_quality(connection, self.workload, by))


@command
def accept_quality(workload: str, *, why: Why = NONE_GIVEN, as_json: AsJson = False) -> int:
    """Accept answers that have changed: those from now on are the reference, and the incidents about them end.

    Exit code 1 when no answers of the workload have changed, 2 when there is no such workload.
    """
    return perform(AcceptQuality, workload, why, as_json)
