"""The action that silences or acknowledges an open incident until an end time."""

from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field
from sqlalchemy import Connection

from lanes.commands.actions import Done, PersonAction
from lanes.errors import ActionRefused
from lanes.ids import IncidentId
from lanes.money.overhead import EVERY
from lanes.promises.incident import Handling
from lanes.store import incidents
from lanes.words import Signature
from lanes.workload.form import LARGEST, SignedLine, of_workloads

LONGEST_HOURS = 24 * 30
HANDLINGS = {"silence": Handling.SILENCED, "acknowledge": Handling.ACKNOWLEDGED}


class HandleIncident(PersonAction):
    """Silence or acknowledge an open incident for some time. If it is still open then, people are told again."""

    workload: SignedLine = Field(title="Workload", json_schema_extra=of_workloads(EVERY))
    """The workload of the incident; * for one of all workloads."""
    incident: int = Field(ge=1, le=LARGEST, title="Incident")
    """Its number, from 1; its message and `lanes alerts` show it."""
    action: Literal["silence", "acknowledge"] = Field(
        title="Action",
        description="silence: nothing of it is told, nor of the next one of the same promise, workload and subject. "
        "acknowledge: you look after it; people are told when it worsens or ends.",
    )
    hours: float = Field(default=8, gt=0, le=LONGEST_HOURS, title="Hours")
    """For how long, up to 720 hours."""

    @property
    def what(self) -> str:
        """The name of the run, with the incident."""
        return f"{self.action} incident {self.incident} of {self.workload}"

    def perform(self, connection: Connection, now: datetime) -> Done:
        until, by = now + timedelta(hours=self.hours), Signature(self.who, self.why, now)
        of, handling = IncidentId(self.incident), HANDLINGS[self.action]
        handled = incidents.handle(connection, of, self.workload, handling, until=until, by=by)
        if handled is None:
            raise ActionRefused(
                f"no incident {self.incident} of {self.workload} is open: `lanes alerts` lists those that are"
            )
        return Done(f"incident {self.incident} is {handled.handled}", {"until": until})
