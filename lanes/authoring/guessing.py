"""Guesses about the columns of a file (its text, its labels, its keys), from a bounded sample of its first lines."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lanes.doors.filedoor import Row
from lanes.doors.item import FIELDS, KEY_LIMIT
from lanes.errors import Refused
from lanes.json_data import why_unstorable

MOST_LINES = 50_000
MOST_CELLS = 500_000
MOST_BYTES = 32 * 1024**2
MOST_VALUES = 200  # distinct values of a label
LONGEST_VALUE = 80
EXAMPLES = 2  # example lines stored for each value
WORDY = 20  # the mean number of characters in a text column
WORDS_OF_DATA = 5  # a header with this many words is a line of data
MOST_SENT = 8  # the most columns for which a whole line is the input
PROPERTY = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # property names that structured outputs accept
LABELS = re.compile(
    r"label|class|category|intent|topic|sentiment|type|kind|tag|target|expected|answer|gold",
    re.IGNORECASE,
)
KEYS = re.compile(
    r"(.*[ _-])?(id|key|uuid|guid|nr|no|number|ref|reference)|.*[a-z]Id", re.IGNORECASE
)
TEXTS = re.compile(
    r"text|message|body|content|comment|review|question|description|document|utterance",
    re.IGNORECASE,
)
TIMES = re.compile(
    r"(.*[ _-])?(date|time|datetime|timestamp|created|occurred|received|sent|at|on)", re.IGNORECASE
)

Value = tuple[str, Any]  # the type's name and the value, because True equals 1


@dataclass
class InputColumn:
    """One column so far, with `counts` of its distinct values, None once they are too many, and example `lines` of each."""

    name: str
    filled: int = 0
    texts: int = 0
    chars: int = 0
    spaced: int = 0
    longest: int = 0
    times: int = 0
    counts: Counter[Value] | None = field(default_factory=Counter)
    lines: dict[Value, list[Mapping[str, Any]]] = field(default_factory=dict)
    # The hashes of the values, until a value repeats; only for a column whose name may be that of a key.
    _seen: set[int] | None = None

    def __post_init__(self) -> None:
        if KEYS.fullmatch(self.name):
            self._seen = set()

    def add(self, value: Any, line: Mapping[str, Any]) -> None:
        """Count the value of one more line; an empty value is ignored."""
        if value is None or value == "":
            return
        self.filled += 1
        if isinstance(value, str):
            self.texts += 1
            self.chars += len(value)
            self.spaced += " " in value.strip()
            self.longest = max(self.longest, len(value))
            self.times += _is_time(value)
        if isinstance(value, dict | list):
            self.counts = self._seen = None
            return
        known = (type(value).__name__, value)
        if self._seen is not None:
            self._seen.add(hash(known))
            self._seen = self._seen if len(self._seen) == self.filled else None
        if self.counts is not None:
            self.counts[known] += 1
            if self.counts[known] <= EXAMPLES:
                self.lines.setdefault(known, []).append(line)
            if len(self.counts) > MOST_VALUES:
                self.counts = None
                self.lines.clear()

    @property
    def mean(self) -> float:
        """The mean number of characters in the column's texts."""
        return self.chars / self.texts if self.texts else 0.0

    @property
    def is_text(self) -> bool:
        """Whether the column contains only texts."""
        return self.filled > 0 and self.texts == self.filled

    @property
    def is_wordy(self) -> bool:
        """Whether people wrote the column: texts of several words."""
        return self.is_text and self.mean >= WORDY and self.spaced >= self.filled / 2

    @property
    def names_lines(self) -> bool:
        """Whether each value is short, without spaces and unique, so that it can be the key of its line."""
        return (
            self._seen is not None
            and self.filled > 0
            and self.spaced == 0
            and self.longest <= KEY_LIMIT
        )

    @property
    def tells_times(self) -> bool:
        """Whether the column contains only times, and its name fits that."""
        return bool(TIMES.fullmatch(self.name)) and 0 < self.times == self.filled

    @property
    def has_few_values(self) -> bool:
        """Whether the column has few short values, most of which repeat; with a label's name, one repetition is enough."""
        if (
            self.counts is None
            or len(self.counts) < 2
            or self.longest > LONGEST_VALUE
            or self.names_lines
        ):
            return False
        if any(kind == "float" for kind, _ in self.counts):
            return False
        most = self.filled / 2 if not LABELS.fullmatch(self.name) else self.filled - 1
        return len(self.counts) <= most


@dataclass
class Sample:
    """The first lines of a file, by column. With `events`, each line is an event's payload that contains its own label.

    `own_labels` are the fields of such labels; `whole` states that the sample has all lines of the file.
    """

    lines: int = 0
    columns: dict[str, InputColumn] = field(default_factory=dict)
    own_labels: dict[str, InputColumn] = field(default_factory=dict)
    bad: list[tuple[int, str]] = field(default_factory=list)
    whole: bool = True
    events: bool = False


def look(rows: Iterable[Row]) -> Sample:
    """Read the first lines, up to `MOST_LINES`, `MOST_BYTES` and `MOST_CELLS`."""
    sample, size, cells = Sample(), 0, 0
    for read, (number, text, row) in enumerate(rows):
        if read >= MOST_LINES or size >= MOST_BYTES or cells >= MOST_CELLS:
            sample.whole = False
            break
        size += len(text)
        cells += len(row) if isinstance(row, dict) else 1
        problem = str(row) if isinstance(row, Refused) else why_unstorable(row, "the line")
        if isinstance(row, Refused) or problem is not None:
            sample.bad.append((number, str(problem)))
            continue
        if not sample.lines:
            sample.events = isinstance(row.get("payload"), dict) and set(row) <= {*FIELDS, "label"}
        sample.lines += 1
        _add(sample, row)
    return sample


def _add(sample: Sample, row: Mapping[str, Any]) -> None:
    label, fields = row.get("label"), row
    if isinstance(label, dict):
        fields = {name: value for name, value in row.items() if name != "label"}
    if sample.events:
        fields = row["payload"] if isinstance(row.get("payload"), dict) else {}
    for name, value in fields.items():
        sample.columns.setdefault(name, InputColumn(name)).add(value, fields)
    if isinstance(label, dict):
        for name, value in label.items():
            sample.own_labels.setdefault(name, InputColumn(name)).add(value, fields)


@dataclass(frozen=True)
class Proposal:
    """A way to send a file's lines, and the question to ask about them.

    `field`, `label`, `key` and `occurred_at` are columns, named like the options of `lanes submit`; without `field`, a whole
    line is an input. `sent` are the columns that the model sees, `labels` the columns with known answers, by field of the
    answer. `others` are further candidates for labels.
    """

    sent: tuple[str, ...]
    labels: Mapping[str, InputColumn]
    field: str | None = None
    label: str | None = None
    key: str | None = None
    occurred_at: str | None = None
    others: tuple[str, ...] = ()


def propose(
    sample: Sample, *, field: str | None = None, label: str | None = None, key: str | None = None
) -> Proposal:
    """Guess the purpose of the columns that are not given."""
    if sample.events:
        return Proposal(tuple(sample.columns), _usable(sample.own_labels))
    columns = sample.columns
    key = key or next(
        (
            column.name
            for column in columns.values()
            if column.names_lines and column.filled == sample.lines
        ),
        None,
    )
    time = next(
        (
            column.name
            for column in columns.values()
            if column.tells_times and column.name not in (key, label, field)
        ),
        None,
    )
    candidates = [
        column
        for column in columns.values()
        if column.has_few_values and column.name not in (key, time, field)
    ]
    if label is None and not sample.own_labels:
        label = _label(candidates, others=[name for name in columns if name not in (key, time)])
    rest = [column for name, column in columns.items() if name and name not in (label, key, time)]
    wordy = [column for column in rest if column.is_wordy]
    if field is None:
        texts = [column for column in rest if column.is_text] if len(wordy) != 1 else wordy
        best = max(
            texts,
            key=lambda column: column.mean * (2 if TEXTS.fullmatch(column.name) else 1),
            default=None,
        )
        several = [column for column in wordy if best and column.mean >= best.mean / 5]
        field = best.name if best and (len(several) < 2 or len(rest) > MOST_SENT) else None
    labels = {label: columns[label]} if label is not None else _usable(sample.own_labels)
    return Proposal(
        sent=(field,) if field else tuple(column.name for column in rest),
        labels=labels,
        field=field,
        label=label,
        key=key,
        occurred_at=time,
        others=tuple(column.name for column in candidates if column.name not in (label, field)),
    )


def headless(sample: Sample) -> str | None:
    """Return a column name that looks like data, so that the file has no header; None if the header looks like one."""
    for name, column in sample.columns.items():
        few = column.counts is not None and len(column.counts) <= column.filled / 2
        if (
            len(name.split()) >= WORDS_OF_DATA
            or _is_number(name)
            or (few and ("str", name) in (column.counts or ()))
        ):
            return name
    return None


def _label(candidates: list[InputColumn], *, others: list[str]) -> str | None:
    """Return the column with labels: by its name, or because it is the only one besides the text."""
    named = [each for each in candidates if LABELS.fullmatch(each.name)]
    alone = candidates if len(candidates) == 1 and len(others) == 2 else []
    return next((each.name for each in (*named, *alone) if PROPERTY.fullmatch(each.name)), None)


def _usable(labels: Mapping[str, InputColumn]) -> dict[str, InputColumn]:
    return {name: each for name, each in labels.items() if PROPERTY.fullmatch(name) and each.filled}


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?[0-9][0-9.,]*", text.strip()) is not None


def _is_time(text: str) -> bool:
    if len(text) < 8 or not text[0].isdigit():
        return False
    try:
        return 1 < datetime.fromisoformat(text).year < 9999
    except ValueError:
        return False
