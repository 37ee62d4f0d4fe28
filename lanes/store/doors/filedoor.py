"""Admits the lines of a file, many in one transaction; what it refuses is kept with its line number."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine

from lanes.doors.filedoor import Admitted, BadLine, Layout, Line, read_lines
from lanes.doors.item import Refusal
from lanes.json_data import weight
from lanes.packing import MOST_BYTES, chunks
from lanes.store.doors import items
from lanes.store.locks import OWN_PATIENCE, in_own_transaction

CHUNK = 500  # lines admitted in one transaction


def admit_file(
    pool: Engine, path: Path, workload: str, layout: Layout, *, now: datetime
) -> Iterator[Admitted]:
    """Admit the file's lines; yield what became of each chunk once it is committed.

    Raises:
        StillLocked: another transaction has submitted one of the keys and does not end; the chunks before it are admitted.
        ValueError: the file is neither .jsonl nor .csv, or its header lacks a named column.
    """
    lines = read_lines(path, workload, layout, now=now)
    for chunk in chunks(lines, most=CHUNK, most_bytes=MOST_BYTES, weight=_weight):
        yield in_own_transaction(pool, OWN_PATIENCE, _admit, chunk, path.name, workload, now)


def _weight(line: Line | BadLine) -> int:
    return weight(line.content if isinstance(line, BadLine) else line.submission.payload)


def _admit(
    connection: Connection, chunk: list[Line | BadLine], door: str, workload: str, now: datetime
) -> Admitted:
    lines = [each for each in chunk if isinstance(each, Line)]
    told = Admitted(bad=[each for each in chunk if isinstance(each, BadLine)])
    told.outcomes.update(each.reason for each in told.bad)
    if told.bad:
        refusals = [
            Refusal(workload, b.place, b.reason, b.detail, b.content, b.key) for b in told.bad
        ]
        items.refuse(connection, refusals, door=door, now=now)
    admissions = items.admit(connection, [each.submission for each in lines], door=door, now=now)
    right: dict[str, dict[str, object]] = {}
    for line, admission in zip(lines, admissions, strict=True):
        told.outcomes[admission.outcome] += 1
        if not admission.admitted or admission.key is None:
            place, content = line.submission.place, str(line.submission.payload)
            told.bad.append(BadLine(place, admission.outcome, admission.detail or "", content))
            continue
        told.keys.append(admission.key)
        if line.expected is not None:
            right[admission.key] = line.expected
    items.label(connection, workload, right, source=door)
    return told
