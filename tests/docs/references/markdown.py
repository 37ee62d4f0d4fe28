"""How a page of the references is written."""

import html
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence

PIPED = re.compile(r"`([^`]*\|[^`]*)`")
MARKUP = re.compile(r"[\\|*_\[\]]")
MADE = "<!-- made by `python -m tests.docs.references`: change the code it names, not this page -->"


def document(title: str, *parts: str) -> str:
    """Return a page: its title, and its parts with a line between them."""
    return "\n\n".join([f"# {title}", MADE, *(part.strip("\n") for part in parts)]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a cell is one line."""
    lines = [_row(head), "|" + "---|" * len(head), *map(_row, rows)]
    return "\n".join(lines)


def block(language: str, text: str) -> str:
    """Return a fenced block."""
    return f"```{language}\n{text.rstrip()}\n```"


def code(text: object) -> str:
    """As code, within a line."""
    return f"`{text}`"


def listed(words: Iterable[object]) -> str:
    """One or the other, as code."""
    *others, last = map(code, words)
    return f"{', '.join(others)} or {last}" if others else last


def said_of(thing: object) -> str:
    """Return the first sentence or paragraph of a docstring, on one line."""
    return " ".join(inspect.cleandoc(thing.__doc__ or "").partition("\n\n")[0].split())


def of_each(names: Iterable[str], said: Mapping[str, str], *, what: str) -> dict[str, str]:
    """Return the sentence of each name, in order.

    Raises:
    LookupError: a sentence has no name any more, or a new name has none.
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
    """Code with a stroke in it, which ends a cell for one reader of Markdown, and needs a backslash that another shows."""
    return f"<code>{MARKUP.sub(lambda each: f'&#{ord(each[0])};', html.escape(piped[1], quote=False))}</code>"
