"""The messages of Lanes that pages quote, and whether the code contains them."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.docs.blocks import CHECKOUT

ROOMS = ("lanes", "tasks", "flows", "blocks")
FIRST_CELL = re.compile(r"^\| (?P<cell>.+?) \|", re.MULTILINE)
QUOTED = re.compile(r"`(?P<code>[^`]+)`|\"(?P<told>[^\"]+)\"")
LEFT_OUT = re.compile(r"\.\.\.|[A-Z]+|\d+")  # a placeholder, an elision or a number in a quote
SOMETHING = "\0"  # an interpolated value in the code, or an elision in the quote
MOST_WORDS = 8  # for one SOMETHING, at most


def quotes(page: Path) -> list[str]:
    """Return the quoted sentences in the first column of a page's tables."""
    told = [
        found["code"] or found["told"]
        for cell in FIRST_CELL.findall(page.read_text())
        for found in QUOTED.finditer(cell)
    ]
    return [each for each in told if " " in each and not each.startswith(("lanes ", "make "))]


def is_said(quote: str) -> bool:
    """Return whether a text of the code contains the quote, ignoring the variable parts."""
    quoted = tuple(SOMETHING if LEFT_OUT.fullmatch(each) else each for each in _words(quote))
    return any(
        _begins(said[start:], quoted)
        for said in texts()
        if set(said) & set(quoted)
        for start in range(len(said))
    )


@cache
def texts() -> tuple[tuple[str, ...], ...]:
    """Return each text in the code as words, with SOMETHING for an interpolated value."""
    files = [each for room in ROOMS for each in sorted((CHECKOUT / room).rglob("*.py"))]
    return tuple(
        {words for file in files for words in _texts(ast.parse(file.read_text())) if len(words) > 1}
    )


def _texts(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield _words(
                "".join(
                    str(each.value) if isinstance(each, ast.Constant) else SOMETHING
                    for each in node.values
                )
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield _words(node.value)


def _words(text: str) -> tuple[str, ...]:
    bare = (each.strip(",:;`\"'") for each in text.split())
    return tuple(
        SOMETHING if SOMETHING in each else each if LEFT_OUT.fullmatch(each) else each.strip(".")
        for each in bare
    )


def _begins(said: tuple[str, ...], quoted: tuple[str, ...]) -> bool:
    if not quoted:
        return True
    if quoted[0] == SOMETHING:
        return any(
            _begins(said[taken:], quoted[1:]) for taken in range(min(MOST_WORDS, len(said)) + 1)
        )
    return bool(said) and said[0] == quoted[0] and _begins(said[1:], quoted[1:])
