"""What people write into forms: trimmed, not empty, and storable; numbers that a column holds."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from lanes.json_data import why_unstorable


def _storable(said: str) -> str:
    if (problem := why_unstorable(said, "this text")) is not None:
        raise ValueError(problem)
    return said


LARGEST = 2_147_483_647  # of the numbers of batches and versions
FARTHEST = 1_000_000_000_000_000  # of places in a stream
Written = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=500)
]  # not known yet whether it can be stored
Line = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=500), AfterValidator(_storable)
]
SignedLine = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
    AfterValidator(_storable),
]
Who = Annotated[
    SignedLine,
    Field(title="Who", description="Your name, 1 to 500 characters; it stands in the log."),
]
Why = Annotated[
    SignedLine,
    Field(title="Why", description="Your reason, 1 to 500 characters; it stands in the log."),
]
