"""`lanes publish` and `lanes export`, one file because each reverses the other: a workload from a YAML file, and back."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from difflib import unified_diff
from pathlib import Path
from typing import Any, Literal

from rich.prompt import Confirm
from rich.text import Text
from sqlalchemy import Engine

from lanes.commands import running
from lanes.commands.labels import add_file, refusals
from lanes.commands.options import AsJson, Overwrite
from lanes.commands.plan import begin_canary, require_canary
from lanes.doors.filedoor import Layout
from lanes.errors import SetupError, SpecInvalid, UnknownWorkload
from lanes.ids import VersionId
from lanes.routing.route import rule_faults
from lanes.settings import Settings
from lanes.stand.progress import progress
from lanes.stand.reaching import Editor
from lanes.store.database import clock
from lanes.store.doors import full_data, items
from lanes.store.routing import traffic
from lanes.store.workload import candidates, workloads
from lanes.store.workload import golden as golden_sets
from lanes.text import plain
from lanes.units import pluralize
from lanes.words import GoldenState
from lanes.workload import definition as definitions
from lanes.workload.definition import BlockState, Comparison, Edit, EditOutcome
from lanes.workload.definition_file import NamedSpec, render_definition
from lanes.workload.golden import GoldenRun
from lanes.workload.version import NAME, Spec, Version

Standing = Version | SpecInvalid | None  # the version in force, or why it cannot be read
NOTHING_DIFFERS = "nothing_differs"
NO_GOLDEN = "leave out --golden and --golden-set"
RULES = ("urgent_when", "batch_when")
TRIED = 1_000  # newest items on which changed rules and a changed input schema are tested
LONGEST_VALUE = 160  # characters of a changed value
MOST_LINES = 40  # of one changed field
TRIED_OF = timedelta(days=30)
SPLIT_STAYS = "split_percent counts when a workload is first published; the split in force stays: form `set_split` moves it"


@running.command
def publish(
    file: Path,
    *,
    canary: str | None = None,
    yes: bool = False,
    force: bool = False,
    golden: Literal["realtime", "batch"] | None = None,
    golden_set: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Publish the workload that a YAML file defines: its block is saved, and the version is in force.

    The command first shows the differences from the version in force, and asks for confirmation. Without a terminal, --yes is
    needed. A changed rule and a changed input schema are tested on the newest items of the workload, 1,000 at most. If a rule
    cannot be evaluated for an item, or the schema refuses one, nothing is published without --force. The same applies if
    reference rows of its context cannot be read.

    If the workload has a golden set (--golden-set, `lanes golden add`), the version is a candidate until it and the version in
    force have answered the set. It is then put in force, unless it is significantly worse. A first version has no version to be
    compared with: it is in force once it has answered the set. Items that are sent before that are refused.

    With --canary the old version stays in force: the new one is a candidate, and a rollout moves new items to it step by step.

    Exit code 0 when it is in force or a candidate, or nothing differs; 1 when not; 2 when there is no such file.

    Example: lanes publish tickets.yaml

    Args:
        canary: A playbook of direction version: a file of migrations/playbooks without its extension, or the path of your own.
        yes: Publish without asking.
        force: Publish even if a changed rule or input schema fails on received items, and put the version in force at once,
            regardless of its answers to the golden set.
        golden: The lane that answers the golden set: batch with the next departure, realtime at once and at the full price.
        golden_set: A JSONL or CSV file of labeled items, added to the golden set first, as by `lanes golden add`. If a line
            does not fit the definition, nothing is published.
    """
    named_spec = running.read_definition(file, "cannot be published; nothing was changed")
    if canary is not None and (golden or golden_set) is not None:
        raise running.WrongUsage(f"--canary compares the versions on new items: {NO_GOLDEN}")
    if force and (golden or golden_set) is not None:
        raise running.WrongUsage(f"--force puts it in force without its golden set: {NO_GOLDEN}")
    with running.database() as pool:
        editor = Editor(Settings.read())
        stored_block, stands = editor.read(named_spec.name), _read_standing(pool, named_spec.name)
        version = stands if isinstance(stands, Version) else None
        comparison = definitions.compare(named_spec.name, named_spec.spec, version, stored_block)
        newest, unfit = _golden(pool, named_spec, comparison, golden=golden, golden_set=golden_set)
        if not as_json:
            console = running.screen(140, highlight=False, soft_wrap=True)
            console.print(
                *_describe_changes(named_spec, comparison, stands),
                *_describe_golden_runs(named_spec, newest),
                sep="\n",
            )
        if canary is not None:
            require_canary(pool, canary, named_spec, comparison)
        else:
            unfit += _check_taken_back(pool, named_spec)
        with pool.begin() as connection:
            unfit += full_data.check(connection, named_spec.spec.context)
        faults = (
            []
            if comparison.nothing_differs
            else _try_on_items(pool, named_spec, comparison) + unfit
        )
        outcome = _refusal(comparison, faults, yes=yes, force=force, as_json=as_json)
        if golden_set is not None and outcome == NOTHING_DIFFERS:
            print(f"{golden_set} was not added: `lanes golden add` does that", file=sys.stderr)
        if outcome is None:
            # Must run first: no publisher may find the block without its set.
            if golden_set is not None:
                with pool.begin() as connection:
                    add_file(connection, golden_set, named_spec.name, Layout(), named_spec.spec)
            definition = named_spec.spec.model_dump(mode="json")
            edit = Edit(
                named_spec.name,
                definition,
                stored_block,
                golden or "batch",
                force,
                canary is not None,
            )
            outcome = _save(editor, edit)
        now_stands = _read_standing(pool, named_spec.name)
        with pool.begin() as connection:
            newest = golden_sets.runs(connection, named_spec.name)
        began = dict[str, Any]()
        if canary is not None and outcome == EditOutcome.CANDIDATE:
            began = begin_canary(pool, canary, named_spec.name)
    number = now_stands.number if isinstance(now_stands, Version) else None
    if as_json:
        data = {"golden": [each.sentence for each in newest]} if newest else {}
        running.print_json(
            {**_data(named_spec, comparison, outcome, number), "faults": faults, **data, **began}
        )
    elif began:
        print(f"{began['said']}\nrun: {began['url']}")
    elif outcome == EditOutcome.PUBLISHED:
        hours = _hours(named_spec.spec)
        print(f"{named_spec.name}: version {number} is in force; its batches depart {hours}")
    elif outcome == EditOutcome.CANDIDATE:
        print(*(f"{named_spec.name}: {each.sentence}" for each in newest), sep="\n")
    return 0 if outcome in (EditOutcome.PUBLISHED, EditOutcome.CANDIDATE, NOTHING_DIFFERS) else 1


def _golden(
    pool: Engine,
    named_spec: NamedSpec,
    comparison: Comparison,
    *,
    golden: str | None,
    golden_set: Path | None,
) -> tuple[list[GoldenRun], list[str]]:
    """Return the newest runs over the golden set, and a sentence for each item that does not fit the definition."""
    name, spec, faults = named_spec.name, named_spec.spec, list[str]()
    with pool.connect() as connection:  # rolled back, because the user has not agreed yet
        if golden_set is not None:
            faults += refusals(add_file(connection, golden_set, name, Layout(), spec))
        if golden is not None and not golden_sets.list_items(connection, name):
            add = f"`lanes golden add FILE --workload {name}` or --golden-set makes one"
            raise running.WrongUsage(f'--golden: workload "{name}" has no golden set; {add}')
        changed = {each.field.partition(".")[0] for each in comparison.changed}
        if comparison.in_force is None or not changed.isdisjoint(("input_schema", "output_schema")):
            faults += golden_sets.list_unfit(connection, name, spec)
        return golden_sets.runs(connection, name), faults


def _check_taken_back(pool: Engine, named_spec: NamedSpec) -> list[str]:
    with pool.begin() as connection:
        explanation = candidates.explain_rollback(connection, named_spec.name, named_spec.spec)
        return [explanation] if explanation else []


def _describe_golden_runs(named_spec: NamedSpec, newest: Sequence[GoldenRun]) -> Iterator[Text]:
    """Yield the golden set's result for this definition, and the candidate that it would replace."""
    for golden_run in newest:
        if golden_run.hash == definitions.content_hash(named_spec.spec):
            yield Text(plain(golden_run.sentence, most=1_000))
        elif golden_run.state is GoldenState.RUNNING:
            yield Text(f"version {golden_run.version}, a candidate, is replaced by it", "yellow")


def _refusal(
    comparison: Comparison, faults: Sequence[str], *, yes: bool, force: bool, as_json: bool
) -> str | None:
    """Return why nothing is published, after printing the reason, or None if it may be published."""
    if comparison.nothing_differs:
        return NOTHING_DIFFERS
    for each in faults:
        print(each, file=sys.stderr)
    if faults and not force:
        sentence = "nothing was changed; correct it, or add --force to publish it all the same"
        print(sentence, file=sys.stderr)
        return "fails_on_items"
    asks = not as_json and sys.stdin.isatty() and sys.stdout.isatty()
    if yes or (asks and _confirm()):
        return None
    print("nothing was changed" + ("" if asks else "; add --yes to publish it"), file=sys.stderr)
    return "not_agreed"


def _save(editor: Editor, edit: Edit) -> EditOutcome:
    with progress() as display:
        display.begin(title := f"Publishing {edit.name}")
        began = time.monotonic()
        reply = editor.save(edit)
        display.end(title, reply.outcome.replace("_", " "), time.monotonic() - began)
    if explanation := _explain_outcome(edit.name, reply):
        print(explanation, file=sys.stderr)
    return reply.outcome


def _hours(spec: Spec) -> str:
    window = spec.window
    span = f"from {window.start:%H:%M} to {window.end:%H:%M}"
    return f"{'at any hour' if window.start == window.end else span} ({window.zone.key})"


def _try_on_items(pool: Engine, named_spec: NamedSpec, comparison: Comparison) -> list[str]:
    """Test the changes on the newest items; return a sentence each for failing rules and for a failing input schema."""
    changed = {each.field.partition(".")[0] for each in comparison.changed}
    tries_rules = not changed.isdisjoint(RULES)
    tries_schema = "input_schema" in changed and bool(named_spec.spec.input_schema)
    if comparison.in_force is None or not (tries_rules or tries_schema):
        return []
    version = Version(
        VersionId(0), named_spec.name, comparison.in_force.number + 1, named_spec.spec
    )
    with pool.begin() as connection:
        since = clock(connection) - TRIED_OF
    rules, schema, items_tried = list[str](), list[str](), 0
    for chunk in traffic.stream_received(pool, named_spec.name, since=since, most=TRIED, read=True):
        items_tried += len(chunk.items)
        for item in chunk.items if tries_rules else ():
            faults = rule_faults(item, version, now=item.received_at)
            rules += [f'"{item.key}": {fault}' for fault in faults[:1]]
        with pool.begin() as connection:
            for item in chunk.items if tries_schema else ():
                of_schema = (named_spec.name, named_spec.spec.input_schema)
                refusal = items.schema_refusal(connection, *of_schema, item.payload)
                schema += [f'"{item.key}": {refusal}'] if refusal else []
    newest, sentences = f"of the newest {pluralize(items_tried, 'item')}", list[str]()
    if rules:
        first = plain(rules[0], most=300)
        sentences.append(f"a rule cannot be evaluated for {len(rules)} {newest}, first for {first}")
    if schema:
        first = plain(schema[0], most=300)
        sentences.append(f"input_schema would refuse {len(schema)} {newest}, first {first}")
    return sentences


def _read_standing(pool: Engine, name: str) -> Standing:
    """Return the version in force, or the reason why it cannot be read."""
    with pool.begin() as connection:
        try:
            return workloads.current(connection, name)
        except SpecInvalid as unreadable:
            return unreadable


def _describe_changes(
    named_spec: NamedSpec, comparison: Comparison, stands: Standing
) -> list[Text]:
    """Return what publishing would change."""
    name, texts = named_spec.name, list[Text]()
    if comparison.in_force is None:
        title = f"{name} is new:" if stands is None else f"{stands}; this replaces it:"
        texts += [Text(title), *difference_lines(definitions.beyond_defaults(named_spec.spec))]
    else:
        number = len(comparison.changed)
        differ = f"{number} fields differ" if number > 1 else "1 field differs"
        version = f"version {comparison.in_force.number}, which is in force"
        texts += [Text(f"{name}: {differ if number else 'nothing differs'} from {version}")]
        texts += [*difference_lines(comparison.changed)]
    if any(each.field == "split_percent" for each in comparison.changed):
        texts += [Text(SPLIT_STAYS, "yellow")]
    match comparison.block:
        case BlockState.INVALID:
            why = "; ".join(comparison.problems)
            texts += [Text(f"its block in Prefect is not valid, and is replaced: {why}", "yellow")]
        case BlockState.EDITED:
            message = (
                "its block in Prefect says something else that is not in force, and is replaced:"
            )
            texts += [Text(message, "yellow"), *difference_lines(comparison.overwritten)]
        case BlockState.MISSING if comparison.in_force is not None:
            texts += [Text("it has no block in Prefect; one is made", "yellow")]
        case _:
            pass
    return texts


def difference_lines(differences: Sequence[definitions.FieldDifference]) -> Iterator[Text]:
    """Yield each changed field: a text by its changed lines, a list by its added and removed values."""
    for each in differences:
        parts = [*_difference(each.before, each.after)]
        if len(parts) == 1:
            yield Text.assemble("  ", (plain(each.field), "bold"), ": ", parts[0])
            continue
        yield Text.assemble("  ", (plain(each.field), "bold"), ":")
        yield from (Text.assemble("    ", part) for part in parts[:MOST_LINES])
        if len(parts) > MOST_LINES:
            yield Text(f"    ... and {pluralize(len(parts) - MOST_LINES, 'line')} more", "dim")


def _difference(before: Any, after: Any) -> Iterator[Text]:
    if isinstance(before, str) and isinstance(after, str) and "\n" in before + after:
        for line in [*unified_diff(before.splitlines(), after.splitlines(), n=1, lineterm="")][2:]:
            yield Text("...", "dim") if line.startswith("@@") else _line(line[:1], line[1:])
        if before.splitlines() == after.splitlines():
            yield Text("the end of a line")
    elif isinstance(before, list) and isinstance(after, list):
        removed_values = [each for each in before if each not in after]
        added_values = [each for each in after if each not in before]
        yield from (_line("-", _value(each)) for each in removed_values)
        yield from (_line("+", _value(each)) for each in added_values)
        if not removed_values and not added_values:
            yield Text(f"{_value(before)} -> {_value(after)}")
    elif before is definitions.ABSENT:
        yield _line("+", _value(after))
    elif after is definitions.ABSENT:
        yield _line("-", _value(before))
    else:
        yield Text(f"{_value(before)} -> {_value(after)}")


def _line(sign: str, text: str) -> Text:
    color = {"-": "red", "+": "green"}.get(sign, "dim")
    return Text(f"{sign} {plain(text, most=LONGEST_VALUE)}", color)


def _value(value: Any) -> str:
    if isinstance(value, str) and "\n" in value.strip():
        return f"{plain(value, most=80)} ({pluralize(len(value.splitlines()), 'line')})"
    return plain(json.dumps(value, ensure_ascii=False), most=LONGEST_VALUE)


def _confirm() -> bool:
    """Return whether the person at the terminal agrees."""
    with suppress(EOFError, KeyboardInterrupt):
        return Confirm.ask("Publish it?", default=False)
    return False


def _explain_outcome(name: str, reply: definitions.EditReply) -> str | None:
    """Return what a person must know about the outcome, or None if there is nothing to add."""
    why = f" ({reply.detail})" if reply.detail else ""
    match reply.outcome:
        case EditOutcome.PUBLISHED:
            return reply.detail
        case EditOutcome.CANDIDATE:
            return None
        case EditOutcome.REFUSED:
            return f'the block "{name}" is saved, and its version is not in force: {reply.detail}'
        case EditOutcome.BLOCKED:
            return f"{reply.detail}; nothing was changed"
        case EditOutcome.EDITED_MEANWHILE:
            return f'the block "{name}" was edited meanwhile: nothing was changed; the same command shows what differs now'
        case EditOutcome.NOT_SAVED:
            return f'Prefect did not take the block "{name}"{why}: nothing was published; run `lanes doctor`, then try again'
        case EditOutcome.ONLY_SAVED:
            return f'the block "{name}" is saved, but its version is not in force yet{why}; the next publishing takes it'
        case EditOutcome.OVERTAKEN:
            return f'the block "{name}" was saved again right after: that version is in force; see `lanes export {name}`'


def _data(
    named_spec: NamedSpec, comparison: Comparison, outcome: str, number: int | None
) -> dict[str, Any]:
    changed = (
        definitions.beyond_defaults(named_spec.spec)
        if comparison.in_force is None
        else comparison.changed
    )
    return {
        "workload": named_spec.name,
        "outcome": outcome,
        "version": number,
        "block": comparison.block,
        "differences": [each.as_data() for each in changed],
        "block_differences": [each.as_data() for each in comparison.overwritten],
        "block_problems": list(comparison.problems),
    }


@running.command
def export(
    workload: str,
    *,
    out: Path | None = None,
    block: bool = False,
    force: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a workload's definition in force as a commented YAML file; `lanes publish` publishes it again.

    If the block in Prefect has a different definition that is not in force, a note appears on standard error.
    Exit code 1 when it cannot be written, 2 when there is no such workload.

    Example: lanes export tickets --out tickets.yaml

    Args:
        out: The file to write. The default: standard output.
        block: Write the block's definition, in force or not.
    """
    with running.database() as pool:
        if not NAME.fullmatch(workload):
            raise UnknownWorkload(f'"{workload}" is no name of a workload')
        spec = _read_block(workload) if block else _read_in_force(pool, workload)
    if as_json:
        running.print_json({"name": workload, **spec.model_dump(mode="json")})
        return
    file = out.name if out else f"{workload}.yaml"
    heading = [
        f"The workload {workload}: what it asks, whom, and when.",
        f"Edit it and run `lanes publish {file}`. Its block in the Prefect UI is the same definition.",
    ]
    running.put(render_definition(workload, spec, heading=heading), out, force=force)


def _read_in_force(pool: Engine, name: str) -> Spec:
    """Return the definition in force, in its author's field order if the block still has the same definition."""
    with pool.begin() as connection:
        version = workloads.current(connection, name)
    try:
        stored_block = Editor(Settings.read()).read(name)
    except SetupError as away:
        if version is not None:
            print(f"its block was not looked at: {away}", file=sys.stderr)
        stored_block = None
    if version is None:
        message = f'workload "{name}" has no published version'
        if stored_block is not None:
            message += "; its block says something that is not in force: see --block"
        raise UnknownWorkload(message)
    comparison = definitions.compare(name, version.spec, version, stored_block)
    if comparison.block is BlockState.SAME and stored_block is not None:
        return version.spec.model_copy(update={"output_schema": stored_block["output_schema"]})
    if comparison.block is BlockState.EDITED:
        fields = ", ".join(each.field for each in comparison.overwritten)
        message = (
            f"its block says something else that is not in force ({fields}): --block writes that"
        )
        print(message, file=sys.stderr)
    if comparison.block is BlockState.INVALID:
        problems = "; ".join(comparison.problems)
        print(f"its block is not valid and so not in force: {problems}", file=sys.stderr)
    return version.spec


def _read_block(name: str) -> Spec:
    stored_block = Editor(Settings.read()).read(name)
    if stored_block is None:
        raise UnknownWorkload(f'Prefect has no block "{name}" of type Lanes workload')
    return definitions.parse(name, stored_block)
