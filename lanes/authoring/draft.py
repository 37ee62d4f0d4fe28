"""A first workload definition, drafted from the guessed content of a file's columns, or from nothing."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lanes.authoring.guessing import MOST_VALUES, InputColumn, Proposal, Sample
from lanes.money.cost import tokens
from lanes.text import plain
from lanes.units import count, pluralize
from lanes.workload.definition import parse
from lanes.workload.definition_file import render_definition
from lanes.workload.version import Spec

MODEL = "claude-haiku-5-5"
LEAST_OUTPUT_TOKENS = 64
LONGEST_EXAMPLE = 100
MANY_VALUES = 20  # from this number of values on, each has one example
MOST_OTHERS = 5  # further candidates for labels that a message lists
KINDS = {
    "question": "Asks for information.",
    "problem": "Something does not work, is missing or is wrong.",
    "request": "Asks us to do something.",
    "praise": "Thanks, or is content.",
    "other": "Anything else.",
}


@dataclass(frozen=True)
class Draft:
    """A definition with notes on single fields; `file` is the file that it was drafted from."""

    name: str
    spec: Spec
    notes: Mapping[str, str]
    file: str | None = None

    def text(self) -> str:
        """Render the file so that it can be published unchanged."""
        heading = [
            f"The workload {self.name}{f', drafted from {self.file}' if self.file else ''}. It can be published as it is.",
            "A line that begins with # and no space is a field with its default: take the # away to change it.",
        ]
        return render_definition(self.name, self.spec, heading=heading, notes=self.notes)


def blank(name: str) -> Draft:
    """Return a sample definition for inputs with a field `text`."""
    notes = {
        "instructions": "A sample: say in your own words what is asked, and what each value means.",
        "output_schema": "What every answer must look like; `lanes results` shows these fields.",
    }
    inputs = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
    about = f"Messages of {name}: a category and a summary of each."
    return Draft(name, _spec(name, about, *_sample(("text",)), inputs), notes)


def from_columns(name: str, sample: Sample, proposal: Proposal, *, file: str) -> Draft:
    """Return a definition for the lines of a file that asks for the file's label fields, or for a category and a summary."""
    file = plain(file, most=80)
    source = f"the {'' if sample.whole else 'first '}{pluralize(sample.lines, 'line')} of {file}"
    if not proposal.labels:
        notes = {
            "instructions": "A sample: say in your own words what is asked, and what each value means.",
            "output_schema": f"No column of {file} seems to say what is right; `lanes init` takes one as --label COLUMN.",
        }
        description = f"Lines of {file}: a category and a summary of each."
        return Draft(
            name,
            _spec(name, description, *_sample(proposal.sent), _inputs(sample, proposal)),
            notes,
            file,
        )
    more = "" if sample.whole else "; add those that only come later"
    notes = {
        "instructions": f"The examples are lines of {file}: say in your own words what each value means, measure on others.",
        "output_schema": f"The values are those of {source}{more}.",
    }
    asked = ", ".join(proposal.labels)
    about = f"Lines of {file}: {asked} of each."
    spec = _spec(
        name, about, _instructions(proposal), _schema(proposal.labels), _inputs(sample, proposal)
    )
    return Draft(name, spec, notes, file)


def next_commands(
    name: str, file: str, source: str | None, proposal: Proposal | None
) -> list[tuple[str, str]]:
    """Return the commands that lead from a workload's file to answers, with the effect of each."""
    items = shlex.quote(source) if source else "items.csv"
    columns = (
        {"field": "text"}
        if proposal is None
        else {
            "field": proposal.field,
            "label": proposal.label,
            "key": proposal.key,
            "occurred-at": proposal.occurred_at,
        }
    )
    given = "".join(
        f" --{option} {shlex.quote(column)}" for option, column in columns.items() if column
    )
    return [
        (
            f"lanes preview {shlex.quote(file)} --item {items}{given}",
            "what an item asks and costs; nothing is sent",
        ),
        (f"lanes publish {shlex.quote(file)}", "the workload is in force"),
        (f"lanes submit {items} --workload {name}{given}", "its items are in the lanes"),
        (f"lanes depart {name}", "its batch leaves now, not at night"),
        (f"lanes results {name} --csv > {name}-results.csv", "the answers"),
    ]


def _spec(
    name: str,
    description: str,
    instructions: str,
    schema: Mapping[str, Any],
    inputs: dict[str, Any],
) -> Spec:
    longest = tokens(
        json.dumps({field: _longest(about) for field, about in schema["properties"].items()})
    )
    return parse(
        name,
        {
            "description": description,
            "instructions": instructions,
            "output_schema": dict(schema),
            "input_schema": inputs,
            "realtime_model": MODEL,
            "batch_model": MODEL,
            "max_output_tokens": max(LEAST_OUTPUT_TOKENS, 4 * longest),
            "expected_output_tokens": longest,
        },
    )


def _longest(about: Mapping[str, Any]) -> Any:
    return max(
        about.get("enum", []),
        key=lambda value: len(str(value)),
        default="x" * about.get("maxLength", 80),
    )


def _sample(sent: Sequence[str]) -> tuple[str, dict[str, Any]]:
    kinds = "\n".join(f"- {kind}: {meaning}" for kind, meaning in KINDS.items())
    instructions = (
        f"{_describe_input(sent)}\nChoose exactly one category by what its author wants first, and write one line of summary "
        f"in English.\n\nCategory:\n{kinds}\n"
    )
    properties = {
        "category": {"type": "string", "enum": list(KINDS)},
        "summary": {"type": "string", "description": "One line in English", "maxLength": 160},
    }
    return instructions, _object(properties)


def _instructions(proposal: Proposal) -> str:
    asked = " and ".join(f"exactly one {plain(label)}" for label in proposal.labels)
    parts = [f"{_describe_input(proposal.sent)} Choose {asked} for it.\n"]
    for label, column in proposal.labels.items():
        if values := _values(column):
            most = 1 if len(values) >= MANY_VALUES else None
            lines = (
                f"- {plain(value)}: {_examples(column, kind, value, proposal, most)}"
                for kind, value in values
            )
            parts.append(f"{plain(label)}:\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _describe_input(sent: Sequence[str]) -> str:
    names = [plain(each, most=60) for each in sent]
    if len(names) == 1:
        return f"You read one {names[0]} at a time."
    return f"You read one record at a time; its fields are {', '.join(names)}."


def _examples(
    column: InputColumn, kind: str, value: Any, proposal: Proposal, most: int | None
) -> str:
    lines = column.lines.get((kind, value), [])[:most]
    shown = (
        " / ".join(str(line[each]) for each in proposal.sent if line.get(each)) for line in lines
    )
    return "for example " + ", ".join(
        f'"{plain(each, most=LONGEST_EXAMPLE)}"' for each in shown if each
    )


def _values(column: InputColumn) -> list[tuple[str, Any]]:
    """Return a column's values in a stable order; empty if there are too many or if their type is description enough."""
    if column.counts is None or {kind for kind, _ in column.counts} & {"bool", "float"}:
        return []
    return sorted(column.counts, key=lambda known: (known[0], known[1]))


def _schema(labels: Mapping[str, InputColumn]) -> dict[str, Any]:
    return _object({label: _property(column) for label, column in labels.items()})


def _property(column: InputColumn) -> dict[str, Any]:
    names = {"str": "string", "int": "integer", "bool": "boolean", "float": "number"}
    kinds = {"str"} if column.counts is None else {kind for kind, _ in column.counts}
    types = [{"type": names[kind]} for kind in sorted(kinds)]
    values = [value for _, value in _values(column)]
    return (types[0] if len(types) == 1 else {} if values else {"anyOf": types}) | (
        {"enum": values} if values else {}
    )


def _inputs(sample: Sample, proposal: Proposal) -> dict[str, Any]:
    """Return the schema of the payloads, which are the columns that are sent; columns filled in every line are required.

    Empty if some lines may contain their payload themselves, and thus have other columns.
    """
    if "payload" in sample.columns and not sample.events:
        return {}
    columns = [sample.columns[name] for name in proposal.sent]
    filled = [
        each
        for each in columns
        if (sample.whole and each.filled == sample.lines) or each.name == proposal.field
    ]
    properties = {
        each.name: {"type": "string"} if each in filled and each.is_text else {} for each in columns
    }
    return {"type": "object", "required": [each.name for each in filled], "properties": properties}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(properties),
        "properties": properties,
    }


def describe_guesses(sample: Sample, proposal: Proposal, *, lines: int) -> list[str]:
    """Describe in sentences how the file was interpreted, and what to check.

    `lines` is the approximate number of lines in the file.
    """
    source = (
        pluralize(sample.lines, "line")
        if sample.whole
        else f"the first {count(sample.lines)} of about {count(lines)} lines"
    )
    columns = ", ".join(f'"{plain(each)}"' for each in proposal.sent)
    sent = f"the text is {columns}" if proposal.field else f"an input is {columns}"
    labels = ", ".join(
        f'"{plain(label)}"{_number(column)}' for label, column in proposal.labels.items()
    )
    known = f"what is right stands in {labels}" if labels else "no column says what is right"
    sentences = [f"Looked at {source}: {sent}; {known}."]
    if proposal.key:
        sentences += [f'"{plain(proposal.key)}" names each line: sent again, it is the same item.']
    if proposal.occurred_at:
        sentences += [f'"{plain(proposal.occurred_at)}" says when it happened.']
    if proposal.others:
        others = ", ".join(f'"{plain(each)}"' for each in proposal.others[:MOST_OTHERS])
        more = (
            f" and {len(proposal.others) - MOST_OTHERS} more"
            if len(proposal.others) > MOST_OTHERS
            else ""
        )
        sentences += [f"Few values too: {others}{more}. --label COLUMN asks for one of them."]
    if not sample.whole and proposal.labels:
        sentences += [
            "Values that only come later are missing: add them to output_schema and instructions."
        ]
    return sentences


def _number(column: InputColumn) -> str:
    if column.counts is None:
        return f" (more than {MOST_VALUES} values, so that none is listed)"
    return f" ({pluralize(len(column.counts), 'value')})"
