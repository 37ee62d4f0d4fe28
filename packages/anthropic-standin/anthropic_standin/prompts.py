"""The labels in a system prompt: their descriptions, and examples with their answers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_DESCRIPTION = re.compile(
    r"^[ \t]*[-*][ \t]*[`'\"]?([\w ./-]+?)[`'\"]?[ \t]*:[ \t]*(\S.*?)[ \t]*$", re.MULTILINE
)
_EXAMPLE = re.compile(
    r"<example>\s*<input>(.*?)</input>\s*<output>(.*?)</output>\s*</example>",
    re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """The labels of a system prompt: `descriptions` by label in lower case, and `examples` as (input, answer)."""

    descriptions: dict[str, str]
    examples: list[tuple[str, Any]]

    def described(self, label: str) -> str | None:
        """Return the prompt's description of a label, if any."""
        return self.descriptions.get(label.lower())

    def examples_of(self, name: str, label: Any) -> list[str]:
        """Return the inputs of the examples whose answer has this label at this property, at any depth."""
        return [text for text, answer in self.examples if label in _values(answer, name)]


def read_prompt(system: str) -> Prompt:
    """Return the labels in a system prompt.

    The prompt describes them in lines like `- label: description`, and in blocks like
    `<example><input>..</input><output>{json}</output></example>`.
    """
    examples = []
    for text, output in _EXAMPLE.findall(system):
        try:
            examples.append((text.strip(), json.loads(output)))
        except ValueError:
            continue
    lines = _DESCRIPTION.findall(_EXAMPLE.sub("", system))
    return Prompt({label.strip().lower(): words for label, words in reversed(lines)}, examples)


def _values(answer: Any, name: str) -> list[Any]:
    if isinstance(answer, list):
        return [value for part in answer for value in _values(part, name)]
    if not isinstance(answer, dict):
        return []
    found = [value for value in answer.values() if isinstance(value, dict | list)]
    nested = [value for part in found for value in _values(part, name)]
    here = answer.get(name)
    return nested + (here if isinstance(here, list) else [] if here is None else [here])
