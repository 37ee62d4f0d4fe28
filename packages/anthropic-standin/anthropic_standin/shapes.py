"""Answers that satisfy a JSON schema: a chooser makes every choice, and all other values come from the item."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from anthropic_standin.items import Item

Node = dict[str, Any]
DEEPEST = 12
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_CERTAINTY = re.compile(r"confidence|certainty|probability|score", re.IGNORECASE)
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "P0D",
    "email": "nobody@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """A property with a closed set of answers; `description` comes from the schema."""

    name: str
    labels: tuple[Any, ...]
    description: str = ""


class Chooser(Protocol):
    """A chooser that makes the choices for one item."""

    def pick(self, choice: LabelChoice) -> Any: ...
    def certainty(self) -> float:
        """Return the certainty of the first choice, between 0 and 1."""
        ...


def pack_property(root: Node) -> str | None:
    """Return the name of the top-level array whose elements are objects with an `id`, if the schema is one of a pack."""
    for name, node in resolve(root, root).get("properties", {}).items():
        array = resolve(node, root)
        if array.get("type") == "array" and "id" in resolve(array.get("items", {}), root).get(
            "properties", {}
        ):
            return name
    return None


def resolve(node: Node, root: Node) -> Node:
    """Return the node with references within the schema resolved and `allOf` merged."""
    for _ in range(DEEPEST):
        if "$ref" in node:
            target: Any = root
            for step in node["$ref"].removeprefix("#").strip("/").split("/"):
                target = (
                    target.get(step.replace("~1", "/").replace("~0", "~"), {}) if step else target
                )
            node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
        elif "allOf" in node:
            merged = {key: value for key, value in node.items() if key != "allOf"}
            for part in node["allOf"]:
                part = resolve(part, root)
                properties = {**merged.get("properties", {}), **part.get("properties", {})}
                merged = {**merged, **part, **({"properties": properties} if properties else {})}
            node = merged
        else:
            break
    return node


def fill_single(root: Node, item: Item, chooser: Chooser) -> Any:
    """Return an answer about one item."""
    return _Filling(root, item, chooser).value(root, "", 0)


def fill_pack(
    root: Node,
    pack: str,
    whole: Item,
    items: Sequence[Item],
    chooser_for: Callable[[Item], Chooser],
) -> Any:
    """Return an answer with one element per item, each with its item's id; other properties come from the whole text."""
    properties = dict(resolve(root, root)["properties"])
    element = resolve(resolve(properties[pack], root)["items"], root)
    rest = _Filling(root, whole, chooser_for(whole))
    answer = {name: rest.value(node, name, 1) for name, node in properties.items() if name != pack}
    elements = []
    for item in items:
        filling = _Filling(root, item, chooser_for(item))
        fields = {
            name: filling.value(node, name, 1)
            for name, node in element["properties"].items()
            if name != "id"
        }
        elements.append({"id": item.id, **fields})
    return {name: elements if name == pack else answer[name] for name in properties}


class _Filling:
    def __init__(self, root: Node, item: Item, chooser: Chooser) -> None:
        self.root, self.item, self.chooser = root, item, chooser

    def value(self, node: Node, name: str, depth: int) -> Any:
        node = resolve(node, self.root)
        if "const" in node:
            return node["const"]
        if "enum" in node:
            return self._pick(name, node["enum"], node)
        branches = node.get("anyOf") or node.get("oneOf")
        if branches:
            return self._branch(
                [resolve(branch, self.root) for branch in branches], node, name, depth
            )
        kind = node.get("type")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        if kind is None:
            kind = "object" if "properties" in node else "string"
        match kind:
            case "object":
                if depth > 4 * DEEPEST:
                    return {}
                return {
                    key: self.value(part, key, depth + 1)
                    for key, part in node.get("properties", {}).items()
                }
            case "array":
                return self._array(node, name, depth)
            case "boolean":
                return self._pick(name, [True, False], node)
            case "integer" | "number":
                return self._number(node, name, whole=kind == "integer")
            case "string":
                return self._string(node)
            case _:
                return None

    def _pick(self, name: str, labels: list[Any], node: Node) -> Any:
        real = tuple(label for label in labels if label is not None)
        if not real or isinstance(real[0], dict | list):
            return real[0] if real else None
        return self.chooser.pick(LabelChoice(name, real, node.get("description", "")))

    def _branch(self, branches: list[Node], node: Node, name: str, depth: int) -> Any:
        real = [branch for branch in branches if branch.get("type") != "null"]
        if not real or (depth > DEEPEST and len(real) < len(branches)):
            return None
        if len(real) > 1 and all("const" in branch for branch in real):
            return self._pick(name, [branch["const"] for branch in real], node)
        inherited = {"description": node["description"]} if "description" in node else {}
        return self.value({**inherited, **real[0]}, name, depth + 1)

    def _array(self, node: Node, name: str, depth: int) -> list[Any]:
        element = resolve(node.get("items", {}), self.root)
        least = node.get("minItems", 0)
        if "enum" in element:
            best = self.value(element, name, depth + 1)
            others = [label for label in element["enum"] if label != best]
            return [best, *others[: max(0, least - 1)]] if node.get("maxItems", 1) else []
        return [self.value(element, name, depth + 1) for _ in range(least)]

    def _number(self, node: Node, name: str, *, whole: bool) -> float | int:
        step = node.get("multipleOf", 1 if whole else 0)
        low = node.get(
            "minimum",
            node["exclusiveMinimum"] + (step or 1e-6) if "exclusiveMinimum" in node else None,
        )
        high = node.get(
            "maximum",
            node["exclusiveMaximum"] - (step or 1e-6) if "exclusiveMaximum" in node else None,
        )
        if not whole and _CERTAINTY.search(name):
            number = self.chooser.certainty()
        else:
            found = _NUMBER.search(self.item.text)
            number = float(found.group()) if found else 0.0
        if low is not None:
            number = max(number, low)
        if high is not None:
            number = min(number, high)
        if step:
            number = number // step * step
            number = number + step if low is not None and number < low else number
        return int(number) if whole else number

    def _string(self, node: Node) -> str:
        if node.get("format") in _FORMATS:
            return _FORMATS[node["format"]]
        text = self.item.first_sentence()[: node.get("maxLength", 160)]
        return text.ljust(node.get("minLength", 0), ".")
