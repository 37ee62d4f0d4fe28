"""`lanes init`: a first workload file for a new workload."""

import re
import sys
from pathlib import Path

from rich.markup import escape

from lanes.authoring.draft import Draft, blank, describe_guesses, from_columns, next_commands
from lanes.authoring.guessing import Proposal, Sample, headless, look, propose
from lanes.commands.options import AsJson, Overwrite
from lanes.commands.running import WrongUsage, check_file, command, print_json, put
from lanes.doors.filedoor import Layout, count_lines, read_rows
from lanes.errors import SpecInvalid
from lanes.stand.progress import Console
from lanes.text import plain
from lanes.units import pluralize
from lanes.workload.version import NAME

SHOWN = 5  # bad lines that are listed
MOST_HEADER = 1 << 20  # bytes of a header that are read


@command
def init(
    name: str,
    *,
    from_: Path | None = None,
    field: str | None = None,
    label: str | None = None,
    key: str | None = None,
    force: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write NAME.yaml, a commented workload file that can be published as it is, and print the next commands.

    With --from, a bounded sample of the file's lines proposes text, labels, schema and prompt. Nothing is sent or published.
    Exit code 1 when the file already exists, 2 when the name is invalid or the file cannot be read.

    Example: lanes init comments --from comments.csv

    Args:
        name: Name of the new workload.
        from_: A CSV or JSONL file of items to sample.
        field: The column with the text, if the guess is wrong.
        label: The column with the right answer, if the guess is wrong.
        key: The column that identifies the item, if the guess is wrong.
    """
    if not NAME.fullmatch(name):
        near = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:63].rstrip("-")
        rule = 'it holds a-z, 0-9 and "-", and begins with a letter'
        example = f"for example {near or 'comments'}"
        raise WrongUsage(f'"{name}" is no name of a workload: {rule}; {example}')
    proposal, guesses, draft = None, list[str](), None
    try:
        if from_ is not None:
            with Console(stderr=True).status(f"Looking at {escape(from_.name)}"):
                sample = _read_sample(from_, Layout(field=field, label=label, key=key))
            proposal = propose(sample, field=field, label=label, key=key)
            draft = _draft(name, sample, proposal, from_)
            guesses = describe_guesses(sample, proposal, lines=count_lines(from_))
    except ValueError as error:
        raise WrongUsage(error) from error
    out = Path(f"{name}.yaml")
    put((draft or blank(name)).text(), out, force=force)
    then = next_commands(name, str(out), from_ and str(from_), proposal)
    if as_json:
        columns: dict[str, object] = {"field": "text"}
        if proposal:
            names = ("field", "label", "key", "occurred_at")
            columns = {each: getattr(proposal, each) for each in names}
        commands = [command for command, _ in then]
        print_json({"workload": name, "file": str(out), **columns, "next": commands})
        return
    print(f"{out} is written.", *guesses, "\nNext:", sep="\n")
    for typed, what in then:
        print(f"  {typed}\n      {what}")


def _read_sample(file: Path, layout: Layout) -> Sample:
    """Return a sample of the file. Raise ValueError if the file door cannot read the file."""
    check_file(file)
    is_csv = file.suffix.lower() == ".csv"
    if is_csv:
        _check_separator(file)
    sample = look(read_rows(file, layout))
    if not sample.lines and sample.bad:
        number, why = sample.bad[0]
        raise ValueError(f'no line of "{file.name}" can be read; line {number}: {why}')
    if not sample.lines:
        raise ValueError(f'"{file.name}" holds no line of items; below a header, each line is one')
    first = headless(sample) if is_csv and layout.field is None else None
    if first is not None:
        raise ValueError(
            f'the first line of "{file.name}" seems to be an item and no header ("{plain(first, most=60)}"): write the names '
            "of the columns above it, or name the column of the text with --field"
        )
    _check_columns(file, sample, layout)
    if sample.bad:
        bad = pluralize(len(sample.bad), "line")
        print(f"{bad} cannot be read, and `lanes submit` will refuse them:", file=sys.stderr)
        for number, why in sample.bad[:SHOWN]:
            print(f"  {file.name}:{number}: {why}", file=sys.stderr)
    return sample


def _check_columns(file: Path, sample: Sample, layout: Layout) -> None:
    column_names = [each for each in (layout.field, layout.label, layout.key) if each is not None]
    if column_names and sample.events:
        own = "an event's payload with its own key and label"
        raise ValueError(f'each line of "{file.name}" is {own}: name no columns')
    for column in column_names:
        if column not in sample.columns:
            names = ", ".join(sample.columns)
            raise ValueError(f'"{file.name}" has no field "{column}"; it has {names}')


def _check_separator(file: Path) -> None:
    with file.open("rb") as opened:
        header = opened.readline(MOST_HEADER).decode("utf-8", errors="replace")
    separator = max(";\t|", key=header.count)
    if "," not in header and separator in header:
        named = {"\t": "tabs"}.get(separator, f'"{separator}"')
        message = f'the columns of "{file.name}" are separated by {named}'
        raise ValueError(f"{message}: save it with commas, as CSV (UTF-8)")


def _draft(name: str, sample: Sample, proposal: Proposal, file: Path) -> Draft:
    """Return the draft. Raise ValueError if the values of the columns allow no valid definition."""
    try:
        return from_columns(name, sample, proposal, file=file.name)
    except SpecInvalid as invalid:
        why = f'no workload can be made of "{file.name}" ({"; ".join(invalid.problems)})'
        raise ValueError(f"{why}: try `lanes init {name}`") from None
