"""The named sets of states in `lanes.words` as SQL: text for hand-written statements, and SQLAlchemy conditions.

All values are literals, so that generic plans can still use partial indexes. In the texts, an item has the alias `i`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lanes import words

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement


def format_list(values: Iterable[str]) -> str:
    """Return the values as an operand of SQL's `in`: `('one', 'other')`."""
    return "(" + ", ".join(f"'{each}'" for each in values) + ")"


# For `w.state in {OPEN_WORK}` and the like.
OPEN_WORK, LIVE_CLAIM, OUTSIDE_BATCHES, UNCLAIMED = map(
    format_list, (words.OPEN_WORK, words.LIVE_CLAIM, words.OUTSIDE_BATCHES, words.UNCLAIMED)
)
ANSWERING, MEASURING = format_list(words.ANSWERING), format_list(words.MEASURING)
FINISHED_BATCH, OPEN_ROLLOUT, OPEN_REPLAY = map(
    format_list, (words.FINISHED_BATCH, words.OPEN_ROLLOUT, words.OPEN_REPLAY)
)

# Matches a label `l` that counts in estimates.
FAIR_LABEL = f"l.basis <> '{words.LabelBasis.REVIEW}'"

# Matches a batch that primes the provider's cache, if its workload is postponed until the batch's stated return.
AWAITED_PRIMER = (
    "batch.workload = workload.name and batch.stated_back_at = workload.submit_at"
    " and batch.requests = 1 and batch.marked_requests = 1"
)

# An unfinished item is neither settled, failed nor canceled; an open item also has no answer yet.
UNFINISHED_ITEM = "i.settled_at is null and i.failed_at is null and i.canceled_at is null"
OPEN_ITEM = f"i.answered_at is null and {UNFINISHED_ITEM}"
UNROUTED_ITEM = "i.position is null and i.canceled_at is null"  # the router has not processed it


def is_open_work() -> "ColumnElement[bool]":
    """Match open work (ready, claimed or submitted)."""
    from lanes.store.statements import (
        is_among,  # imported here because reports use the texts alone, and start without SQLAlchemy
    )
    from lanes.store.tables import work

    return is_among(work.c.state, words.OPEN_WORK)


def is_answering() -> "ColumnElement[bool]":
    """Match work that can change its item's state: purpose answer or authoritative."""
    from lanes.store.statements import is_among
    from lanes.store.tables import work

    return is_among(work.c.purpose, words.ANSWERING)
