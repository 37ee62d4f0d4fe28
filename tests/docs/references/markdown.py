"""How a page of the references is written."""

import html
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence

PIPED = re.compile(r"`([^`]*\|[^`]*)`")
MARKUP = re.compile(r"[\\|*_\[\]]")
MADE = "<!-- made by `python -m tests.docs.references`: change the code it names, not this page -->"


def document(title: str, *parts: str) -> str:
    """A page: its title, and its parts with a line between them."""
    return "\n\n".join([f"# {title}", MADE, *(part.strip("\n") for part in parts)]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; what stands in a cell is one line."""
    lines = [_row(head), "|" + "---|" * len(head), *map(_row, rows)]
    return "\n".join(lines)


def block(language: str, text: str) -> str:
    """A fenced block."""
    return f"```{language}\n{text.rstrip()}\n```"


def code(text: object) -> str:
    """As code, within a line."""
    return f"`{text}`"


def listed(words: Iterable[object]) -> str:
    """One or the other, as code."""
    *others, last = map(code, words)
    return f"{', '.join(others)} or {last}" if others else last


def said_of(thing: object) -> str:
    """The first sentence or paragraph of its docstring, on one line."""
    return " ".join(inspect.cleandoc(thing.__doc__ or "").partition("\n\n")[0].split())


def of_each(names: Iterable[str], said: Mapping[str, str], *, what: str) -> dict[str, str]:
    """What is said of each name, in their order.

    Raises:
        LookupError: something is said of a name that is gone, or nothing of a new one.
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
