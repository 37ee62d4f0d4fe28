"""The words that occur in columns, with their meanings from the comments in the code."""

from collections.abc import Mapping
from enum import StrEnum

from lanes.words import (
    BatchState,
    ItemState,
    Mode,
    Outcome,
    Purpose,
    Reason,
    ReplayState,
    RolloutState,
    Standing,
    Verdict,
)
from tests.docs.references.glossary import comments
from tests.docs.references.markdown import code, table

WORDS: Mapping[str, type[StrEnum]] = {
    "States of an item": ItemState,
    "Reasons of a route": Reason,
    "Outcomes of an attempt": Outcome,
    "Purposes of work": Purpose,
    "Standings of a result": Standing,
    "States of a batch": BatchState,
    "States of a replay": ReplayState,
    "States of a rollout": RolloutState,
    "Verdicts of a gate or a promise": Verdict,
    "Modes of a workload": Mode,
}
STANDINGS = {
    Standing.PROVISIONAL.name: "an early answer; an authoritative pass is owed, or failed for good",
    Standing.AUTHORITATIVE.name: "the answer that counts",
}


def section(title: str) -> str:
    """Return a table of words."""
    words = WORDS[title]
    said = comments(words) | (STANDINGS if words is Standing else {})
    return f"### {title}\n\n" + table(
        ("word", "what is true"), [(code(each.value), said[each.name]) for each in words]
    )
