"""What differs between two definitions, field by field."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lanes.workload.version import Spec

ABSENT = object()


@dataclass(frozen=True)
class Difference:
    """One field, or one part of the output schema or the promises; `ABSENT` on the side that lacks it."""

    field: str
    before: Any
    after: Any

    def as_data(self) -> dict[str, Any]:
        """For a program; the side that lacks it is left out."""
        sides = {"before": self.before, "after": self.after}
        return {"field": self.field} | {
            side: value for side, value in sides.items() if value is not ABSENT
        }


def differences(before: Spec, after: Spec) -> list[Difference]:
    """Return what differs, in the order of the form. The order of an object's keys is no difference."""
    return [*_between("", before.model_dump(mode="json"), after.model_dump(mode="json"))]


def beyond_defaults(spec: Spec) -> list[Difference]:
    """What a definition says of its own: the fields that have no default, and those that say something else."""
    own = {
        field: getattr(spec, field)
        for field, about in Spec.model_fields.items()
        if about.is_required()
    }
    changed = differences(Spec.model_construct(**own), spec)
    return [
        Difference(field, ABSENT, value)
        for field, value in [*own.items(), *((d.field, d.after) for d in changed)]
    ]


def _between(path: str, before: Any, after: Any) -> Iterator[Difference]:
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        if not _same(before, after):
            yield Difference(path, before, after)
        return
    for key in [*before, *(key for key in after if key not in before)]:
        yield from _between(
            f"{path}.{key}" if path else key, before.get(key, ABSENT), after.get(key, ABSENT)
        )


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: 1 is 1.0, whatever became of it in a database, and true is not 1."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
        case list(), list():
            return len(one) == len(other) and all(map(_same, one, other))
        case bool(), _:
            return one is other
        case (int() | float(), bool()):
            return False
        case (int() | float(), int() | float()):
            return Decimal(str(one)) == Decimal(str(other))
        case _:
            return type(one) is type(other) and one == other
