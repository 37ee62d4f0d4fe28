"""Places in a YAML text, for reports of a file's faults with line and column."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

TAG = "tag:yaml.org,2002:"
TEXT = f"{TAG}str"
MOST_CHARACTERS = 256 * 1024  # of a text; the parser reads about 100,000 a second
MOST_NODES = 10_000  # an alias counts with all nodes that it repeats
DEEPEST = 60  # nested lists and mappings
LONGEST_NUMBER = 100  # characters
AS_IN_JSON = re.compile(r"[-+]?(0|[1-9][0-9]*)|true|false", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class TextPlace:
    """A place in a text; line and column count from 1."""

    line: int
    column: int


class NotYaml(ValueError):
    """A text that is not YAML or exceeds a limit; `place` is None if the parser gives none."""

    def __init__(self, message: str, place: TextPlace | None = None) -> None:
        self.place = place
        super().__init__(message)


def read(text: str) -> tuple[yaml.Node | None, Any]:
    """Return the root node of a document and the document's data.

    Raises:
        NotYaml: the text is not YAML, contains several documents, or exceeds one of the limits above.
    """
    if len(text) > MOST_CHARACTERS:
        raise NotYaml(
            f"it has {len(text):,} characters, and at most {MOST_CHARACTERS:,} are read; divide or shorten it"
        )
    try:
        root = _compose(text)
        if root is None:
            return None, None
        _check_limits(root)
        return root, _data(root)
    except NotYaml:
        raise
    except yaml.MarkedYAMLError as error:
        mark, begun = error.problem_mark or error.context_mark, error.context_mark
        message = error.problem or "not YAML"
        if begun is not None and mark is not None and begun.line != mark.line:
            message += f", {error.context} that begins in line {begun.line + 1}"
        raise NotYaml(message, _at(mark) if mark else None) from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise NotYaml(f"it cannot be read as YAML: {error}") from None


class _Composer(yaml.SafeLoader):
    """A composer that stops at the first value beyond a limit."""

    nodes = depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.nodes, self.depth = self.nodes + 1, self.depth + 1
        if self.nodes > MOST_NODES:
            raise NotYaml(
                f"it has more than {MOST_NODES:,} values; divide or shorten it",
                _at(self.peek_event().start_mark),
            )
        if self.depth > DEEPEST:
            raise NotYaml(
                f"it is nested deeper than {DEEPEST} levels; flatten it",
                _at(self.peek_event().start_mark),
            )
        node = super().compose_node(parent, index)  # pyright: ignore[reportArgumentType]
        self.depth -= 1
        return node


def _compose(text: str) -> yaml.Node | None:
    loader = _Composer(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def _data(root: yaml.Node) -> Any:
    """Return the data of a composed document."""
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(root)  # pyright: ignore[reportArgumentType]
    finally:
        loader.dispose()


def _check_limits(root: yaml.Node) -> None:
    """Check the limits of a document before its data is built, because aliases can multiply nodes.

    Raises:
        NotYaml: it exceeds a limit; the message names the limit.
    """
    sizes: dict[int, int] = {}
    waiting, path = [(root, False)], dict[int, None]()
    while waiting:
        node, is_done = waiting.pop()
        inner = (
            [each for pair in node.value for each in pair]
            if isinstance(node, yaml.MappingNode)
            else node.value
        )
        inner = inner if isinstance(inner, list) else []
        if is_done:
            del path[id(node)]
            sizes[id(node)] = 1 + sum(sizes[id(each)] for each in inner)
            if sizes[id(node)] > MOST_NODES:
                message = f"with its aliases it has more than {MOST_NODES:,} values; write fewer, and use fewer aliases"
                raise NotYaml(message, _at(node.start_mark))
        elif id(node) in path:
            raise NotYaml(
                "an alias stands within what it refers to; remove it", _at(node.start_mark)
            )
        elif id(node) not in sizes:
            if len(path) >= DEEPEST:
                raise NotYaml(
                    f"it is nested deeper than {DEEPEST} levels; flatten it", _at(node.start_mark)
                )
            kind = node.tag.removeprefix(TAG)
            if kind in ("int", "float") and len(node.value) > LONGEST_NUMBER:
                message = (
                    f"a number has more than {LONGEST_NUMBER} characters; write a text in quotes"
                )
                raise NotYaml(message, _at(node.start_mark))
            path[id(node)] = None
            waiting.append((node, True))
            waiting += [(each, False) for each in inner]


def place(root: yaml.Node | None, path: Sequence[str | int]) -> TextPlace:
    """Return the place of a field; of its nearest existing parent if the field is missing."""
    node, position = root, TextPlace(1, 1) if root is None else _at(root.start_mark)
    for step in path:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == step), None)
            if pair is None:
                break
            node, position = pair[1], _at(pair[0].start_mark)
        elif (
            isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value)
        ):
            node = node.value[step]
            position = _at(node.start_mark)
        else:
            break
    return position


def odd_keys(root: yaml.Node) -> Iterator[tuple[TextPlace, str, str]]:
    """Yield place, path and fault of keys that occur twice or that YAML does not read as text (a bare `on` is true)."""
    for path, node in _nodes(root):
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, _ in node.value:
                path_text = ".".join([*path, key.value if isinstance(key.value, str) else "?"])
                if key.tag == f"{TAG}merge":
                    continue
                if key.tag != TEXT:
                    yield (
                        _at(key.start_mark),
                        path_text,
                        f'this key is not a text in YAML; write "{key.value}" in quotes',
                    )
                elif key.value in keys:
                    yield _at(key.start_mark), path_text, "the field is there twice"
                else:
                    keys.add(key.value)


def surprises(root: yaml.Node) -> Iterator[tuple[TextPlace, str, str]]:
    """Yield place, path and fault of values whose YAML meaning may surprise the author: `no` is false, 22:00 is 1320."""
    for path, node in _nodes(root):
        if (
            not isinstance(node, yaml.ScalarNode)
            or node.style is not None
            or AS_IN_JSON.fullmatch(node.value)
        ):
            continue
        kind = node.tag.removeprefix(TAG)
        if kind in ("bool", "int", "timestamp"):
            taken = yaml.safe_load(node.value)
            read = {"bool": str(taken).lower(), "int": f"the number {taken}"}.get(kind, "a date")
            yield (
                _at(node.start_mark),
                ".".join(path),
                f'YAML reads {node.value} as {read}; write "{node.value}" in quotes',
            )


def _nodes(root: yaml.Node) -> Iterator[tuple[list[str], yaml.Node]]:
    """Yield every node with its path, in the order of the text; an aliased node only once."""
    seen: set[int] = set()
    waiting: list[tuple[list[str], yaml.Node]] = [([], root)]
    while waiting:
        path, node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield path, node
        if isinstance(node, yaml.SequenceNode):
            waiting += reversed(
                [([*path, str(number)], each) for number, each in enumerate(node.value)]
            )
        elif isinstance(node, yaml.MappingNode):
            named = [([*path, str(key.value)], value) for key, value in node.value]
            waiting += reversed(named)


def _at(mark: Any) -> TextPlace:
    return TextPlace(mark.line + 1, mark.column + 1)
