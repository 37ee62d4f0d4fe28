"""The reason that a person gives for what a command changes: it is held to what the forms in the Prefect UI take."""

from typing import Annotated

from cyclopts import Parameter

from lanes.json_data import why_unstorable

MOST = 500  # characters
NONE_GIVEN = "no reason given"


def is_told(_: object, said: str) -> None:
    """Nothing happens where it can be kept.

    Raises:
        ValueError: it is empty, too long, or cannot be stored.
    """
    if not 1 <= len(said.strip()) <= MOST:
        raise ValueError(f"Write 1 to {MOST} characters, or leave it out.")
    if (problem := why_unstorable(said, "It")) is not None:
        raise ValueError(problem)


Why = Annotated[
    str, Parameter(validator=is_told, help=f"Your reason, kept with it: up to {MOST} characters.")
]
