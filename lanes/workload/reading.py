"""A workload's definition as a YAML file, read. Everything that is wrong is said with its line, column and field."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from lanes.errors import SpecInvalid
from lanes.workload import yaml_places
from lanes.workload.definition import Problem, examine
from lanes.workload.promises import Promises
from lanes.workload.version import Spec
from lanes.workload.yaml_places import NotYaml, Place

FIELDS = ("name", *Spec.model_fields)
MOST_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Definition:
    """A named definition that can be published."""

    name: str
    spec: Spec


def bytes_of(file: Path) -> bytes:
    """Return the content of a file, or as much of it as shows that it is too large."""
    with file.open("rb") as opened:
        return opened.read(MOST_BYTES + 1)


def read(content: bytes, *, file: str) -> Definition:
    """The definition that a file of that name holds: `name`, and the fields of a *Lanes workload* block.

    Raises:
        SpecInvalid: naming line, column and field of everything that is wrong, in the order of the file.
    """
    if len(content) > MOST_BYTES:
        said = f"it is larger than {MOST_BYTES // 1024:,} KiB; a workload's file is not: shorten its instructions or schemas"
        raise SpecInvalid(file, [said])
    try:
        root, data = yaml_places.read(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SpecInvalid(
            file, [f"byte {error.start + 1} is not UTF-8; save the file as UTF-8"]
        ) from None
    except NotYaml as error:
        raise SpecInvalid(
            file, [_said(error.place, str(error)) if error.place else str(error)]
        ) from None
    if not isinstance(root, yaml.MappingNode):
        wanted = "a workload is a mapping with name, instructions, output_schema ...; `lanes init NAME` writes one"
        raise SpecInvalid(file, [_said(Place(1, 1), wanted)])
    odd = [*yaml_places.odd_keys(root), *yaml_places.surprises(root)]
    if odd:
        raise SpecInvalid(
            file, [_said(place, f"{field}: {said}") for place, field, said in sorted(odd)]
        )
    return _examined(data, root, file)


def _examined(data: dict[str, Any], root: yaml.Node, file: str) -> Definition:
    fields = {field: value for field, value in data.items() if field != "name"}
    name, unnamed = data.get("name"), list(_unnamed(data))
    spec, problems = examine(name if isinstance(name, str) else "unnamed", fields)
    if spec is None or problems or unnamed:
        placed = sorted(
            ((yaml_places.place(root, each.place), each) for each in (*unnamed, *problems)),
            key=lambda placed: placed[0],
        )
        raise SpecInvalid(
            str(name or file), [_said(place, _worded(each)) for place, each in placed]
        )
    return Definition(str(name), spec)


def _unnamed(data: dict[str, Any]) -> Iterator[Problem]:
    if "name" not in data:
        yield Problem(
            ("name",), "the field is missing; it names the workload, for example `name: tickets`"
        )
    elif not isinstance(data["name"], str):
        yield Problem(("name",), "it is no text; write it in quotes")


def _worded(problem: Problem) -> str:
    if problem.kind == "missing":
        return f"{problem.field}: the field is missing"
    if problem.kind != "extra_forbidden":
        return f"{problem.field}: {problem.said}"
    known = list(Promises.model_fields) if problem.path[0] == "promises" else list(FIELDS)
    near = get_close_matches(str(problem.path[-1]), known, n=1)
    return f"{problem.field}: no field has that name" + (
        f"; did you mean {near[0]}?" if near else ""
    )


def _said(place: Place, sentence: str) -> str:
    return f"line {place.line}, column {place.column}, {sentence}"
