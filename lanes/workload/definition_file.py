"""Reading and writing a workload's definition as a YAML file.

The reader reports every fault with its line, column and field. A written file explains each field with the form's description.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from lanes.errors import SpecInvalid
from lanes.workload import yaml_places
from lanes.workload.context import Context, EntityHistory, Reference
from lanes.workload.definition import Problem, examine
from lanes.workload.form import Promises
from lanes.workload.version import SecondPass, Spec
from lanes.workload.yaml_places import NotYaml, TextPlace

WITHIN: Mapping[str, type[BaseModel]] = {
    "promises": Promises,
    "second_pass": SecondPass,
    "context": Context,
    "entity": EntityHistory,
    "reference": Reference,
}
MOST_BYTES = 1024 * 1024
WIDTH = 110
BEHIND = "\n\n# A comment\nbehind: 0\n"  # an entry must keep its value with this text behind it


@dataclass(frozen=True)
class NamedSpec:
    """A valid definition with the name of its workload."""

    name: str
    spec: Spec


def read_bytes(file: Path) -> bytes:
    """Return the content of a file, or its first `MOST_BYTES` + 1 bytes if it is too large."""
    with file.open("rb") as opened:
        return opened.read(MOST_BYTES + 1)


def read(content: bytes, *, file: str) -> NamedSpec:
    """Return the definition in a file's content: `name`, and the fields of a *Lanes workload* block.

    Raises:
        SpecInvalid: the error lists line, column and field of every fault, in the order of the file.
    """
    if len(content) > MOST_BYTES:
        message = f"it is larger than {MOST_BYTES // 1024:,} KiB; a workload's file is not: shorten its instructions or schemas"
        raise SpecInvalid(file, [message])
    try:
        root, data = yaml_places.read(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SpecInvalid(
            file, [f"byte {error.start + 1} is not UTF-8; save the file as UTF-8"]
        ) from None
    except NotYaml as error:
        raise SpecInvalid(
            file, [_format_fault(error.place, str(error)) if error.place else str(error)]
        ) from None
    if not isinstance(root, yaml.MappingNode):
        wanted = "a workload is a mapping with name, instructions, output_schema ...; `lanes init NAME` writes one"
        raise SpecInvalid(file, [_format_fault(TextPlace(1, 1), wanted)])
    odd = [*yaml_places.odd_keys(root), *yaml_places.surprises(root)]
    if odd:
        raise SpecInvalid(
            file,
            [_format_fault(place, f"{field}: {message}") for place, field, message in sorted(odd)],
        )
    return _examine(data, root, file)


def _examine(data: dict[str, Any], root: yaml.Node, file: str) -> NamedSpec:
    fields = {field: value for field, value in data.items() if field != "name"}
    name, unnamed = data.get("name"), list(_check_name(data))
    spec, problems = examine(name if isinstance(name, str) else "unnamed", fields)
    if spec is None or problems or unnamed:
        placed = sorted(
            ((yaml_places.place(root, each.place), each) for each in (*unnamed, *problems)),
            key=lambda placed: placed[0],
        )
        raise SpecInvalid(
            str(name or file), [_format_fault(place, _explain(each)) for place, each in placed]
        )
    return NamedSpec(str(name), spec)


def _check_name(data: dict[str, Any]) -> Iterator[Problem]:
    if "name" not in data:
        yield Problem(
            ("name",), "the field is missing; it names the workload, for example `name: tickets`"
        )
    elif not isinstance(data["name"], str):
        yield Problem(("name",), "it is not a text; write it in quotes")


def _explain(problem: Problem) -> str:
    if problem.kind == "missing":
        return f"{problem.field}: the field is missing"
    if problem.kind != "extra_forbidden":
        return f"{problem.field}: {problem.message}"
    names = [each for each in problem.path[:-1] if isinstance(each, str)]
    known = list(WITHIN[names[-1]].model_fields) if names else ["name", *Spec.model_fields]
    near = get_close_matches(str(problem.path[-1]), known, n=1)
    return f"{problem.field}: no field has that name" + (
        f"; did you mean {near[0]}?" if near else ""
    )


def _format_fault(place: TextPlace, sentence: str) -> str:
    return f"line {place.line}, column {place.column}, {sentence}"


def render_definition(
    name: str, spec: Spec, *, heading: Sequence[str], notes: Mapping[str, str] | None = None
) -> str:
    """Return the text of a workload's file, which `read` turns into the same definition.

    The text contains the fields that were set; the other fields are comments with their defaults. `heading` are comment lines
    at the top, `notes` are additional comments by field.
    """
    above = [f"# {line}".rstrip() for line in heading]
    fields = [*_fields(spec, notes or {})]
    return "\n".join([*above, _entry("name", name), "", *fields]).rstrip("\n") + "\n"


def _fields(
    model: BaseModel, notes: Mapping[str, str], *, given: bool = True, indent: str = ""
) -> Iterator[str]:
    values = model.model_dump(mode="json")
    for field, about in type(model).model_fields.items():
        comments = [f"{about.title}: {about.description}", *filter(None, [notes.get(field)])]
        for each in comments:
            yield from textwrap.wrap(
                each, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
            )
        held, stands = getattr(model, field), given and field in model.model_fields_set
        if isinstance(held, BaseModel):
            yield f"{indent}{field}:" if stands else f"{indent}#{field}:"
            yield from _fields(held, notes, given=stands, indent=f"{indent}  ")
        else:
            before = indent if stands else f"{indent}#"
            yield from (
                line and f"{before}{line}" for line in _entry(field, values[field]).split("\n")
            )
            yield from () if indent else ("",)


class _Plain(yaml.SafeDumper):
    """A YAML dumper that writes multi-line texts as blocks."""


class _Quoted(yaml.SafeDumper):
    """A YAML dumper that quotes every text."""


def _lines(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Plain.add_representer(str, _lines)
_Quoted.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


def _entry(field: str, value: Any) -> str:
    """Return the field and its value as one or more lines of YAML."""
    for dumper in (_Plain, _Quoted):
        entry = yaml.dump(
            {field: value}, Dumper=dumper, allow_unicode=True, sort_keys=False, width=WIDTH
        ).rstrip("\n")
        if _load(f"{entry}{BEHIND}") == repr({field: value, "behind": 0}):
            return entry
    raise AssertionError(f"{field} cannot be written as YAML")


def _load(text: str) -> str | None:
    try:
        return repr(yaml.safe_load(text))
    except yaml.YAMLError:
        return None
