"""Admits the lines of a file, many in one transaction; what it refuses is kept with its line number."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine

from lanes.chunks import MOST_BYTES, chunks
from lanes.doors.filedoor import BadLine, Layout, Line, read_lines
from lanes.payload import weight
from lanes.store.doors import items

CHUNK = 500  # lines admitted in one transaction


@dataclass
class Admitted:
    """What became of some lines: the keys that exist now, every outcome, and the refused lines."""

    keys: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    bad: list[BadLine] = field(default_factory=list)


def admit_file(pool: Engine, path: Path, workload: str, layout: Layout, *, now: datetime) -> Iterator[Admitted]:
    """What became of the file's lines, chunk after committed chunk.

    Raises:
        ValueError: the file is neither .jsonl nor .csv, or its header lacks a named column.
    """
    lines = read_lines(path, workload, layout, now=now)
    for chunk in chunks(lines, most=CHUNK, most_bytes=MOST_BYTES, weight=_weight):
        with pool.begin() as connection:
            admitted = _admit(connection, chunk, path.name, workload, now)
        yield admitted


def _weight(line: Line | BadLine) -> int:
    return weight(line.content if isinstance(line, BadLine) else line.submission.payload)


def _admit(connection: Connection, chunk: list[Line | BadLine], door: str, workload: str, now: datetime) -> Admitted:
    lines = [each for each in chunk if isinstance(each, Line)]
    told = Admitted(bad=[each for each in chunk if isinstance(each, BadLine)])
    told.outcomes.update(each.reason for each in told.bad)
    if told.bad:
        refusals = [items.Refusal(workload, b.place, b.reason, b.detail, b.content, b.key) for b in told.bad]
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
