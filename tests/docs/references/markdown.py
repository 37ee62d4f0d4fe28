"""Functions that write the Markdown of a reference page."""

import html
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence

PIPED = re.compile(r"`([^`]*\|[^`]*)`")
MARKUP = re.compile(r"[\\|*_\[\]]")
MADE = "<!-- made by `python -m tests.docs.references`: change the code it names, not this page -->"


def document(title: str, *parts: str) -> str:
    """Return a page: its title and its parts, separated by blank lines."""
    return "\n\n".join([f"# {title}", MADE, *(part.strip("\n") for part in parts)]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; each cell is one line."""
    lines = [_row(head), "|" + "---|" * len(head), *map(_row, rows)]
    return "\n".join(lines)


def block(language: str, text: str) -> str:
    """Return a fenced block."""
    return f"```{language}\n{text.rstrip()}\n```"


def code(text: object) -> str:
    """Return a text as inline code."""
    return f"`{text}`"


def listed(words: Iterable[object]) -> str:
    """Return the words as inline code, joined by commas and a final "or"."""
    *others, last = map(code, words)
    return f"{', '.join(others)} or {last}" if others else last


def said_of(thing: object) -> str:
    """Return the first sentence or paragraph of a docstring, on one line."""
    return " ".join(inspect.cleandoc(thing.__doc__ or "").partition("\n\n")[0].split())


def of_each(names: Iterable[str], said: Mapping[str, str], *, what: str) -> dict[str, str]:
    """Return the sentence of each name, in the order of `names`.

    Raises:
        LookupError: a sentence belongs to no name, or a name has no sentence.
    """
    wanted = list(names)
    if differing := set(wanted) ^ set(said):
        raise LookupError(
            f"{what}: the code and the reference differ in {', '.join(sorted(differing))}"
        )
    return {name: said[name] for name in wanted}


def _row(cells: Sequence[str]) -> str:
    return (
        "| "
        + " | ".join(
            PIPED.sub(_as_html, " ".join(cell.split())).replace("|", "\\|") for cell in cells
        )
        + " |"
    )


def _as_html(piped: re.Match[str]) -> str:
    """Return code that contains a pipe as HTML.

    A plain pipe ends the table cell in one Markdown renderer, and another renderer shows the backslash that escapes it.
    """
    return f"<code>{MARKUP.sub(lambda each: f'&#{ord(each[0])};', html.escape(piped[1], quote=False))}</code>"
