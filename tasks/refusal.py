"""How a run ends that was asked for something impossible: red, with the reason, and not replaced by an automation."""

from prefect.client.schemas.objects import State, StateType

from lanes.errors import (
    ActionRefused,
    PlaybookInvalid,
    SetupError,
    StillLocked,
    UnknownItem,
    UnknownWorkload,
)

REFUSALS = (ActionRefused, PlaybookInvalid, SetupError, StillLocked, UnknownItem, UnknownWorkload)
REFUSED = "Refused"  # name of the state; Prefect's event is called after it


def refused(reason: Exception) -> State[str]:
    """Return the final state of a run whose wish cannot be granted; its message is the reason."""
    return State(type=StateType.FAILED, name=REFUSED, message=str(reason))
