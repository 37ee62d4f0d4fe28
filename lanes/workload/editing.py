"""A definition that somebody wants in force, as it is handed to the room that may speak to Prefect, and what became of it."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self


class EditOutcome(StrEnum):
    """What became of an edit."""

    PUBLISHED = "published"  # the block says so, and the version is in force
    EDITED_MEANWHILE = (
        "edited_meanwhile"  # the block is not as it was when its author looked: nothing was changed
    )
    NOT_SAVED = "not_saved"  # Prefect did not take it: nothing was published
    ONLY_SAVED = "only_saved"  # the block says so; the router publishes it as soon as it can
    OVERTAKEN = (
        "overtaken"  # somebody saved the block right after, or it says something else all the same
    )


@dataclass(frozen=True)
class Edit:
    """The block of that name is to say `definition`, given that it still says `seen` (None: there is no such block)."""

    name: str
    definition: dict[str, Any]
    seen: dict[str, Any] | None

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Self:
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Reply:
    """What became of an edit; `detail` says why, or what is behind."""

    outcome: EditOutcome
    detail: str | None = None

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Self:
        said = json.loads(text)
        return cls(EditOutcome(said["outcome"]), said["detail"])
