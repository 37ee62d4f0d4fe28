"""Makes text that came from an item, a file or the provider harmless where it leaves: pages, terminals, JSON and logs."""

import logging
import re
from typing import Any, TextIO

# What acts on a terminal, reorders a line or ends one: C0 without tab and line feed, DEL, C1, marks and overrides of direction,
# line and paragraph separators, and half characters, which cannot be written.
CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
OURS = (
    "prefect.flow_runs",
    "prefect.task_runs",
    "lanes",
    "blocks",
    "tasks",
    "flows",
)  # loggers of one line a message
ACTIVE = re.compile(r"([\\`*_\[\]|~!#])")  # what Markdown would take as its own
ESCAPED_PIPE = re.compile(r"\\*\|")
AUTOLINK = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)", re.IGNORECASE)
WORD_JOINER = "\u2060"  # invisible and unbreakable: between ":" and "//" it keeps an address from becoming a link


def plain(text: object, *, most: int = 160) -> str:
    """One line without control characters, at most `most` characters long; a cut shows as "..."."""
    start = str(text)[: 4 * most]
    # Not printable: controls, direction overrides, half characters, and spaces other than " ".
    visible = (
        start
        if start.isprintable()
        else "".join(char if char.isprintable() else " " for char in start)
    )
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


def visible(text: str) -> str:
    """Return the text with each control character written as an escape, such as \\x1b; tabs and line feeds stay."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def in_json(text: str) -> str:
    """Return a JSON text that says the same without control characters, line feeds between its values apart."""
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class VisibleStream:
    """A text stream that no control character passes, for standard output and standard error."""

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = (
            stream  # rich writes here: its own sequences pass, `lanes.consoles` makes texts visible
        )

    def write(self, text: str) -> int:
        """Write the text, and return how many characters of it were written."""
        self.rich_proxied_file.write(visible(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


class VisibleRecord(logging.LogRecord):
    """A log record without control characters; a message of ours is one line."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        if self.exc_info and self.exc_info[0] is not None:
            self.exc_text = visible(logging.Formatter().formatException(self.exc_info))

    def getMessage(self) -> str:
        """Return the message with its arguments."""
        said = visible(super().getMessage())
        return said.replace("\n", "\\n") if self.name.startswith(OURS) else said


def make_logs_visible() -> None:
    """Let every logger of this process write `VisibleRecord`s."""
    logging.setLogRecordFactory(VisibleRecord)
