"""A workload's definition as a YAML file, written: every field below the words that the form shows beside it."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from pydantic import BaseModel

from lanes.workload.version import Spec

WIDTH = 110
BEHIND = "\n\n# A comment\nbehind: 0\n"  # as an entry reads back wherever it stands, it reads back in the file


def written(
    name: str, spec: Spec, *, heading: Sequence[str], notes: Mapping[str, str] | None = None
) -> str:
    """The file of a workload, which reads back as the same definition.

    Fields that `spec` was given are written; the others stand as comments, with the default that holds for them. `heading`
    are lines of comment above, `notes` more words on single fields.
    """
    above = [f"# {line}".rstrip() for line in heading]
    fields = [*_fields(spec, notes or {})]
    return "\n".join([*above, _entry("name", name), "", *fields]).rstrip("\n") + "\n"


def _fields(
    model: BaseModel, notes: Mapping[str, str], *, given: bool = True, indent: str = ""
) -> Iterator[str]:
    values = model.model_dump(mode="json")
    for field, about in type(model).model_fields.items():
        said = [f"{about.title}: {about.description}", *filter(None, [notes.get(field)])]
        for each in said:
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
    """Texts of several lines stand as they are, unless YAML could not read them back."""


class _Quoted(yaml.SafeDumper):
    """Every text is in quotes."""


def _lines(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Plain.add_representer(str, _lines)
_Quoted.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


def _entry(field: str, value: Any) -> str:
    """The field and its value, in as many lines as it needs."""
    for dumper in (_Plain, _Quoted):
        entry = yaml.dump(
            {field: value}, Dumper=dumper, allow_unicode=True, sort_keys=False, width=WIDTH
        ).rstrip("\n")
        if _read(f"{entry}{BEHIND}") == repr({field: value, "behind": 0}):
            return entry
    raise AssertionError(f"{field} cannot be written as YAML")


def _read(text: str) -> str | None:
    try:
        return repr(yaml.safe_load(text))
    except yaml.YAMLError:
        return None
