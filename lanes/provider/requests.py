"""The body of a Messages request, built from questions in the same way for both lanes.

Fences mark the beginning and end of an item, a part of its context, or a field. Escaping ensures that no input can close its
own fence or open another.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lanes import json_data
from lanes.ids import VersionId
from lanes.money.caching import TERMS
from lanes.money.cost import most_answer_tokens
from lanes.words import Lane
from lanes.workload.context import ContextPart, ContextTag, rule
from lanes.workload.schemas import self_contained
from lanes.workload.version import Version

KEPT = 256  # writers of versions
TAG = re.compile(r"^[A-Za-z_][A-Za-z0-9_-]*$")
PACK_RULE = (
    '\n\nThe message holds several independent items, each in <item id="...">. Answer every one of them from its own '
    "content alone, and give its id back with its answer."
)
ITEM, HISTORY = "item", "history"  # every tag of ours begins with one of these words
ALIKE = {"i": "i\u0131\u0130", "s": "s\u017f"}  # the Turkish i and the long s match these letters
WIDE = 0xFEE0  # offset from a letter to its full-width form
BRACKET = "<\uff1c\ufe64"  # includes the full-width and the small form
ANY_BRACKET = re.compile(f"[{BRACKET}]")
MOST_FIELDS = 32  # with more fields, every bracket is escaped, before any name
ENTITY = "&lt;"
BETWEEN = f"(?:[^\\w{BRACKET}]|_)*"  # any characters except letters and digits


@dataclass(frozen=True)
class Question:
    """One item in a call: `id` names it within a pack, `context` are the parts that a batch adds before it, in order."""

    id: str
    payload: dict[str, Any]
    context: tuple[ContextPart, ...] = ()


def parameters(
    version: Version, lane: Lane, questions: Sequence[Question], *, marked: bool = False
) -> dict[str, Any]:
    """Return the body of a Messages request for `questions`; several questions form a pack.

    If `marked`, the provider caches the part that requests share.
    """
    before, after = _build_shared_fields(
        version, lane, len(questions), _find_tags(questions), marked
    )
    return {**before, "messages": [{"role": "user", "content": _content(questions)}], **after}


class Writer:
    """A writer of request bodies for one version and lane: the JSON of `parameters`, with the shared part built only once."""

    def __init__(self, version: Version, lane: Lane) -> None:
        self.version, self._lane = version, lane
        # Keyed by the number of questions, the parts of their context, and whether the request is marked.
        self._frames: dict[tuple[int, frozenset[ContextTag], bool], tuple[bytes, bytes]] = {}

    def write(self, questions: Sequence[Question], *, marked: bool = False) -> bytes:
        """Return the body of a request as JSON; if `marked`, the provider caches the part that requests share."""
        kind = (len(questions), _find_tags(questions), marked)
        frame = self._frames.get(kind) or self._frame(kind)
        return _json(_content(questions)).join(frame)

    def _frame(self, kind: tuple[int, frozenset[ContextTag], bool]) -> tuple[bytes, bytes]:
        """Return the JSON before and after the content of the message, and store it in `_frames`."""
        before, after = (
            _json(part) for part in _build_shared_fields(self.version, self._lane, *kind)
        )
        frame = before[:-1] + b',"messages":[{"role":"user","content":', b"}]," + after[1:]
        self._frames[kind] = frame
        return frame


class Writers:
    """The writers of one lane, one for each version in use; up to `KEPT`, the oldest is dropped first."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._kept: dict[VersionId, Writer] = {}

    def of(self, version: Version) -> Writer:
        """Return the writer of a version, created on first use."""
        writer = self._kept.get(version.id)
        if writer is None:
            while len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            writer = self._kept[version.id] = Writer(version, self._lane)
        return writer


def _json(value: Any) -> bytes:
    return json_data.dumps(value).encode()


def _find_tags(questions: Sequence[Question]) -> frozenset[ContextTag]:
    """Return the tags in the questions' contexts; the instructions explain each of them."""
    return frozenset(kind for each in questions for part in each.context for kind in part.kinds)


def _build_shared_fields(
    version: Version, lane: Lane, questions: int, tags: frozenset[ContextTag], marked: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields before and after `messages`; all requests of a version with `questions` questions share them.

    The instructions explain the given context tags. The cache mark follows the instructions; it also covers the answer's
    schema, which the provider puts before them.
    """
    spec = version.spec
    packed = questions > 1
    system = spec.instructions + (PACK_RULE if packed else "") + rule(tags)
    mark = {"type": "ephemeral", "ttl": TERMS[lane].ttl}
    before = {
        "model": spec.model_of(lane),
        "max_tokens": most_answer_tokens(spec, questions),
        "system": [{"type": "text", "text": system, "cache_control": mark}] if marked else system,
    }
    return before, {
        "output_config": {
            "format": {
                "type": "json_schema",
                "schema": _askable(json.dumps(spec.output_schema), packed),
            }
        }
    }


@lru_cache(maxsize=256)
def _askable(schema: str, packed: bool) -> dict[str, Any]:
    """Return the schema in the form that the provider accepts. Callers share the cached result and must not change it."""
    from anthropic import transform_schema  # loads the SDK

    answer = self_contained(json.loads(schema))
    return transform_schema(_pack_schema(answer) if packed else answer)


def _content(questions: Sequence[Question]) -> str:
    if len(questions) == 1 and not questions[0].context:
        return _fields(questions[0].payload)  # a single item without context needs no fence
    if len(questions) == 1:
        return _render(questions[0])
    return "\n".join(item(each.id, _render(each)) for each in questions)


def _render(question: Question) -> str:
    """Return the question's context followed by its payload; fences in the payload are escaped.

    A payload with a single text field is that text; otherwise each field is in a tag of its name.
    """
    return "".join(map(_part, question.context)) + escape_fences(_fields(question.payload))


def _part(context_part: ContextPart) -> str:
    content = escape_fences(
        context_part.content
        if isinstance(context_part.content, str)
        else _fields(context_part.content)
    )
    for tag, value in (
        (ContextTag.ANSWER, context_part.answer),
        (ContextTag.LABEL, context_part.label),
    ):
        if value is not None:
            serialized = escape_fences(json.dumps(value, ensure_ascii=False))
            content += "\n" + part(tag, serialized)
    return part(context_part.part, content, context_part.name)


def _fields(payload: dict[str, Any]) -> str:
    if len(payload) == 1:
        (only,) = payload.values()
        if isinstance(only, str):
            return only
    if not all(TAG.match(name) for name in payload):
        return json.dumps(payload, ensure_ascii=False, indent=1)
    return fields(
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in payload.items()
    )


def _pack_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a pack's answers; the `$defs` of `schema` move to its root."""
    element = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "answer": {k: v for k, v in schema.items() if k != "$defs"},
        },
        "required": ["id", "answer"],
        "additionalProperties": False,
    }
    packed: dict[str, Any] = {
        "type": "object",
        "properties": {"answers": {"type": "array", "items": element}},
        "required": ["answers"],
        "additionalProperties": False,
    }
    return packed | ({"$defs": schema["$defs"]} if "$defs" in schema else {})


def _build_pattern(word: str) -> str:
    """Return a pattern that matches the word in any case and width, with any characters but letters and digits in between."""
    letters = (
        f"[{ALIKE.get(letter, letter)}{chr(ord(letter) + WIDE)}]"
        for letter in word.lower()
        if letter.isalnum()
    )
    return BETWEEN.join(letters)


# A bracket, any characters except letters and digits, and the name of a fence. No two parts of the pattern can match the same
# character, so matching takes linear time for any input.
FENCE = re.compile(
    f"[{BRACKET}](?={BETWEEN}(?:{_build_pattern(ITEM)}|{_build_pattern(HISTORY)}))", re.IGNORECASE
)


def escape_fences(text: str) -> str:
    """Return the text with every bracket escaped that could open or close the fence of an item or of its context."""
    return FENCE.sub(ENTITY, text) if _has_bracket(text) else text


def fields(values: Iterable[tuple[str, str]]) -> str:
    """Return the texts, each in a tag of its name; brackets that could form one of these tags are escaped."""
    named = list(values)
    escape = _compile_escape(tuple(name for name, _ in named))
    return "\n".join(f"<{name}>{escape(value)}</{name}>" for name, value in named)


@lru_cache(maxsize=256)
def _compile_escape(names: tuple[str, ...]) -> Callable[[str], str]:
    """Return a function that escapes the tags of these fields in a text."""
    fence = ANY_BRACKET
    if len(names) <= MOST_FIELDS and sum(map(len, names)) <= MOST_FIELDS * MOST_FIELDS:
        words = "|".join(map(_build_pattern, names))
        fence = re.compile(f"[{BRACKET}](?={BETWEEN}(?:{words})(?![^\\W_]))", re.IGNORECASE)
    return lambda text: fence.sub(ENTITY, text) if _has_bracket(text) else text


def _has_bracket(text: str) -> bool:
    """Return whether the text contains a bracket; most texts have none, and this check is faster than the pattern."""
    return "<" in text or "\uff1c" in text or "\ufe64" in text


def item(id: str, content: str) -> str:
    """Return an item of a pack in its fence; everything in `content` except our own fences must be escaped."""
    return f'<{ITEM} id="{id}">\n{content}\n</{ITEM}>'


def part(tag: str, content: str, name: str = "") -> str:
    """Return a part of an item's context in its fence; `content` must be escaped."""
    named = f' name="{name}"' if name else ""
    return f"<{tag}{named}>\n{content}\n</{tag}>\n"
