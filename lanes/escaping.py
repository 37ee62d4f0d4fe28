"""Makes text that came from an item or an operator harmless where it is shown."""

import re

ACTIVE = re.compile(r"([\\`*_\[\]|~!#])")  # what Markdown would take as its own
ESCAPED_PIPE = re.compile(r"\\*\|")
AUTOLINK = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)", re.IGNORECASE)
WORD_JOINER = "\u2060"  # invisible and unbreakable: between ":" and "//" it keeps an address from becoming a link


def plain(text: object, *, most: int = 160) -> str:
    """One line without control characters, at most `most` characters long; a cut shows as "..."."""
    start = str(text)[: 4 * most]
    # Not printable: controls, direction overrides, half characters, and spaces other than " ".
    visible = start if start.isprintable() else "".join(char if char.isprintable() else " " for char in start)
    line = " ".join(visible.split())
    return line if len(line) <= most else line[: max(most - 3, 0)].rstrip() + "..."


def cell(text: object, *, most: int = 160) -> str:
    """Text for a cell of a Markdown table that shows as it is: no markup, no HTML, no links, no new columns."""
    line = plain(text, most=most).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return AUTOLINK.sub(WORD_JOINER, ACTIVE.sub(r"\\\1", line))


def code(text: object, *, most: int = 60) -> str:
    """Text as inline code for a cell of a Markdown table.

    Code cannot carry every character there: backticks become apostrophes, backslashes before a pipe are left out.
    """
    line = ESCAPED_PIPE.sub(r"\\|", plain(text, most=most).replace("`", "'"))
    return f"`{line}`" if line else ""
