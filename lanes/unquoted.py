"""What an error says without the value that it is about, for logs, Slack and the pages of runs."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

FOREIGN = re.compile(
    r"the provider answered \d{3}: |no answer from the provider: |\b[a-z_]+_error: |\brequest_too_large: "
)
ABOUT_AN_INPUT = re.compile(r"answered (?:400|413|422)|invalid_request_error|request_too_large")
QUOTED = re.compile(
    r"""(?<!\w)(?:'[^'\n]*(?:'(?!\w)|$)|"[^"\n]*(?:"|$)|`[^`\n]*(?:`|$)|“[^”\n]*(?:”|$))"""
)
WORD = re.compile(r"\d{4,}|\w{5,}")
OURS = re.compile(
    r" \(after [\d,]+ failed attempts?\)$"
)  # what is added where an item failed for good
WITHHELD = "its words may quote the input: see `lanes explain`"


def unquoted(error: Exception) -> str:
    """The text of an error; of one about values, their places and rules only."""
    if not isinstance(error, ValidationError):
        return str(error)
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return f"{error.title}: " + "; ".join(
        f"{'.'.join(map(str, each['loc']))}: {each['type']}" for each in faults
    )


def discreet(said: str, payloads: Iterable[Any] | None = None) -> str:
    """An attempt's error without what the provider quotes. Ours quote nothing and stay as they are.

    A refusal of the input itself keeps the provider's words only where the `payloads` that were asked are known, and
    share no word with them.
    """
    foreign = FOREIGN.search(said)
    if foreign is None:
        return said
    added = OURS.search(said)
    end = added.start() if added else len(said)
    head, words, tail = said[: foreign.end()], said[foreign.end() : end], said[end:]
    if ABOUT_AN_INPUT.search(head) and (payloads is None or _echoes(words, payloads)):
        return f"{head.removesuffix(': ')} ({WITHHELD}){tail}"
    return head + QUOTED.sub('"..."', words) + tail


def _echoes(words: str, payloads: Iterable[Any]) -> bool:
    told = set(WORD.findall(words.casefold()))
    return any(
        told.intersection(WORD.findall(text.casefold()))
        for each in payloads
        for text in _texts(each)
    )


def _texts(payload: Any) -> Iterator[str]:
    waiting = [payload]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list | tuple):
            waiting += part
        elif part is not None and not isinstance(part, bool):
            yield str(part)
