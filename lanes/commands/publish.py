"""`lanes publish` and `lanes export`: a workload from a file and back, which is the same definition as its block."""

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.prompt import Confirm
from rich.text import Text
from sqlalchemy import Engine

from lanes.commands.options import AsJson, Overwrite
from lanes.commands.running import command, database, print_json, put, read_definition, screen
from lanes.errors import SetupError, SpecInvalid, UnknownWorkload
from lanes.ids import VersionId
from lanes.report import definition
from lanes.routing.route import rule_faults
from lanes.settings import Settings
from lanes.stand.editor import Editor
from lanes.stand.progress import progress
from lanes.store.database import clock
from lanes.store.doors import items
from lanes.store.routing import traffic
from lanes.store.workload import workloads
from lanes.text import plain
from lanes.units import counted
from lanes.workload.definition import (
    BlockState,
    Comparison,
    Edit,
    EditOutcome,
    EditReply,
    beyond_defaults,
    compare,
    parse,
)
from lanes.workload.definition_file import NamedSpec, written
from lanes.workload.version import NAME, Spec, Version

NOTHING_DIFFERS = "nothing_differs"
RULES = ("urgent_when", "batch_when")
TRIED = 1_000  # newest items on which changed rules and a changed input schema are tried
TRIED_OF = timedelta(days=30)
SPLIT_STAYS = "split_percent counts when a workload is first published; the split in force stays: form `set_split` moves it"


@command
def publish(file: Path, *, yes: bool = False, force: bool = False, as_json: AsJson = False) -> int:
    """Publish the workload that a YAML file defines: its block is saved, and the version is in force.

    What differs from what is in force is shown first, and a person is asked. Without a terminal, --yes is needed.
    A changed rule, and a changed input schema, are tried on the newest items of the workload, 1,000 at most: where a rule
    cannot be evaluated for one of them, or the schema refuses one, nothing is published without --force.
    Exit code 0 when it is in force, also when nothing differed; 1 when not; 2 when there is no such file.

    Example: lanes publish tickets.yaml

    Args:
        yes: Publish without asking.
        force: Publish although a changed rule or input schema fails on items that came.
    """
    wanted = read_definition(file, "cannot be published; nothing was changed")
    with database() as pool:
        editor = Editor(Settings.read())
        seen, stands = editor.read(wanted.name), _standing(pool, wanted.name)
        version = stands if isinstance(stands, Version) else None
        found = compare(wanted.name, wanted.spec, version, seen)
        if not as_json:
            console = screen(140, highlight=False, soft_wrap=True)
            console.print(*_shown(wanted, found, stands), sep="\n")
        faults = [] if found.nothing_differs else _tried(pool, wanted, found)
        outcome = _refusal(found, faults, yes=yes, force=force, as_json=as_json)
        if outcome is None:
            outcome = _save(editor, Edit(wanted.name, wanted.spec.model_dump(mode="json"), seen))
        now_stands = _standing(pool, wanted.name)
    number = now_stands.number if isinstance(now_stands, Version) else None
    if as_json:
        print_json({**_data(wanted, found, outcome, number), "faults": faults})
    elif outcome == EditOutcome.PUBLISHED:
        print(
            f"{wanted.name}: version {number} is in force; its batches depart {_hours(wanted.spec)}"
        )
    return 0 if outcome in (EditOutcome.PUBLISHED, NOTHING_DIFFERS) else 1


def _refusal(
    found: Comparison, faults: Sequence[str], *, yes: bool, force: bool, as_json: bool
) -> str | None:
    """Return why nothing is published, after saying so; None where it is."""
    if found.nothing_differs:
        return NOTHING_DIFFERS
    for each in faults:
        print(each, file=sys.stderr)
    if faults and not force:
        sentence = "nothing was changed; correct it, or add --force to publish it all the same"
        print(sentence, file=sys.stderr)
        return "fails_on_items"
    asks = not as_json and sys.stdin.isatty() and sys.stdout.isatty()
    if yes or (asks and _agreed()):
        return None
    print("nothing was changed" + ("" if asks else "; add --yes to publish it"), file=sys.stderr)
    return "not_agreed"


def _save(editor: Editor, edit: Edit) -> EditOutcome:
    with progress() as shown:
        shown.began(title := f"Publishing {edit.name}")
        began = time.monotonic()
        told = editor.save(edit)
        shown.ended(title, told.outcome.replace("_", " "), time.monotonic() - began)
    if said := _said(edit.name, told):
        print(said, file=sys.stderr)
    return told.outcome


def _hours(spec: Spec) -> str:
    window = spec.window
    span = f"from {window.start:%H:%M} to {window.end:%H:%M}"
    return f"{'at any hour' if window.start == window.end else span} ({window.zone.key})"


def _tried(pool: Engine, wanted: NamedSpec, found: Comparison) -> list[str]:
    """Try what changed on the newest items; return a sentence for the rules and one for the input schema, where they fail."""
    changed = {each.field.partition(".")[0] for each in found.changed}
    tries_rules = not changed.isdisjoint(RULES)
    tries_schema = "input_schema" in changed and bool(wanted.spec.input_schema)
    if found.in_force is None or not (tries_rules or tries_schema):
        return []
    version = Version(VersionId(0), wanted.name, found.in_force.number + 1, wanted.spec)
    with pool.begin() as connection:
        since = clock(connection) - TRIED_OF
    rules, schema, items_tried = list[str](), list[str](), 0
    for seen in traffic.received_since(pool, wanted.name, since=since, most=TRIED, read=True):
        items_tried += len(seen.items)
        for item in seen.items if tries_rules else ():
            rules += [
                f'"{item.key}": {fault}'
                for fault in rule_faults(item, version, now=item.received_at)[:1]
            ]
        with pool.begin() as connection:
            for item in seen.items if tries_schema else ():
                said = items.schema_refusal(
                    connection, wanted.name, wanted.spec.input_schema, item.payload
                )
                schema += [f'"{item.key}": {said}'] if said else []
    tried = counted(items_tried, "item")
    told = list[str]()
    if rules:
        told.append(
            f"a rule cannot be evaluated for {len(rules)} of the newest {tried}, first for {plain(rules[0], most=300)}"
        )
    if schema:
        told.append(
            f"input_schema would refuse {len(schema)} of the newest {tried}, first {plain(schema[0], most=300)}"
        )
    return told


def _standing(pool: Engine, name: str) -> Version | SpecInvalid | None:
    """Return the version in force, or why it cannot be read."""
    with pool.begin() as connection:
        try:
            return workloads.current(connection, name)
        except SpecInvalid as unreadable:
            return unreadable


def _shown(
    wanted: NamedSpec, found: Comparison, stands: Version | SpecInvalid | None
) -> list[Text]:
    """Return what publishing would change, before it is done."""
    name, told = wanted.name, list[Text]()
    if found.in_force is None:
        title = f"{name} is new:" if stands is None else f"{stands}; this replaces it:"
        told += [Text(title), *definition.lines(beyond_defaults(wanted.spec))]
    else:
        number = len(found.changed)
        differ = f"{number} fields differ" if number > 1 else "1 field differs"
        version = f"version {found.in_force.number}, which is in force"
        told += [Text(f"{name}: {differ if number else 'nothing differs'} from {version}")]
        told += [*definition.lines(found.changed)]
    if any(each.field == "split_percent" for each in found.changed):
        told += [Text(SPLIT_STAYS, "yellow")]
    match found.block:
        case BlockState.INVALID:
            why = "; ".join(found.problems)
            said = f"its block in Prefect is not valid, and is replaced: {why}"
            told += [Text(said, "yellow")]
        case BlockState.EDITED:
            said = "its block in Prefect says something else that is not in force, and is replaced:"
            told += [Text(said, "yellow"), *definition.lines(found.overwritten)]
        case BlockState.MISSING if found.in_force is not None:
            told += [Text("it has no block in Prefect; one is made", "yellow")]
        case _:
            pass
    return told


def _agreed() -> bool:
    """Return whether a person at the terminal agrees."""
    with suppress(EOFError, KeyboardInterrupt):
        return Confirm.ask("Publish it?", default=False)
    return False


def _said(name: str, told: EditReply) -> str | None:
    """Return what a person has to know of how it ended; None when all is well."""
    why = f" ({told.detail})" if told.detail else ""
    match told.outcome:
        case EditOutcome.PUBLISHED:
            return told.detail
        case EditOutcome.EDITED_MEANWHILE:
            return f'the block "{name}" was edited meanwhile: nothing was changed; the same command shows what differs now'
        case EditOutcome.NOT_SAVED:
            return f'Prefect did not take the block "{name}"{why}: nothing was published; run `lanes doctor`, then try again'
        case EditOutcome.ONLY_SAVED:
            return f'the block "{name}" is saved, but its version is not in force yet{why}; the next publishing takes it'
        case EditOutcome.OVERTAKEN:
            return f'the block "{name}" was saved again right after: that version is in force; see `lanes export {name}`'


def _data(wanted: NamedSpec, found: Comparison, outcome: str, number: int | None) -> dict[str, Any]:
    changed = beyond_defaults(wanted.spec) if found.in_force is None else found.changed
    return {
        "workload": wanted.name,
        "outcome": outcome,
        "version": number,
        "block": found.block,
        "differences": [each.as_data() for each in changed],
        "block_differences": [each.as_data() for each in found.overwritten],
        "block_problems": list(found.problems),
    }


@command
def export(
    workload: str,
    *,
    out: Path | None = None,
    block: bool = False,
    force: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write the definition of a workload that is in force as a commented YAML file; `lanes publish` takes it back.

    Where the block in Prefect says something else that is not in force, that is told on standard error.
    Exit code 1 when it cannot be written, 2 when there is no such workload.

    Example: lanes export tickets --out tickets.yaml

    Args:
        out: The file to write; else standard output.
        block: What the block says, in force or not.
    """
    with database() as pool:
        if not NAME.fullmatch(workload):
            raise UnknownWorkload(f'"{workload}" is no name of a workload')
        spec = _of_block(workload) if block else _in_force(pool, workload)
    if as_json:
        print_json({"name": workload, **spec.model_dump(mode="json")})
        return
    file = out.name if out else f"{workload}.yaml"
    heading = [
        f"The workload {workload}: what it asks, whom, and when.",
        f"Edit it and run `lanes publish {file}`. Its block in the Prefect UI is the same definition.",
    ]
    put(written(workload, spec, heading=heading), out, force=force)


def _in_force(pool: Engine, name: str) -> Spec:
    """Return what is in force, in the order in which its author wrote it where the block still says so."""
    with pool.begin() as connection:
        version = workloads.current(connection, name)
    try:
        seen = Editor(Settings.read()).read(name)
    except SetupError as away:
        if version is not None:
            print(f"its block was not looked at: {away}", file=sys.stderr)
        seen = None
    if version is None:
        more = (
            "; its block says something that is not in force: see --block"
            if seen is not None
            else ""
        )
        raise UnknownWorkload(f'workload "{name}" has no published version{more}')
    found = compare(name, version.spec, version, seen)
    if found.block is BlockState.SAME and seen is not None:
        return version.spec.model_copy(update={"output_schema": seen["output_schema"]})
    if found.block is BlockState.EDITED:
        fields = ", ".join(each.field for each in found.overwritten)
        print(
            f"its block says something else that is not in force ({fields}): --block writes that",
            file=sys.stderr,
        )
    if found.block is BlockState.INVALID:
        print(
            f"its block is not valid and so not in force: {'; '.join(found.problems)}",
            file=sys.stderr,
        )
    return version.spec


def _of_block(name: str) -> Spec:
    seen = Editor(Settings.read()).read(name)
    if seen is None:
        raise UnknownWorkload(f'Prefect has no block "{name}" of type Lanes workload')
    return parse(name, seen)
