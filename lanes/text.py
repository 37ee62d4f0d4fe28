"""Text made safe to show: escaping of control characters and markup, masking of secrets, redaction of quoted inputs, log lines.

A secret in an address is its login (`scheme://user:password@host`), or a field with a secret's name: `?password=`,
`?sslpassword=`, `?api_key=`, and the same in the `key=value` form of libpq.
"""

import base64
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, MethodType
from typing import Any, TextIO
from urllib.parse import unquote, urlsplit, urlunsplit

# Characters that control a terminal, reorder or end a line: C0 without tab and line feed, DEL, C1, direction marks and
# overrides, line and paragraph separators, and surrogates, which cannot be written.
CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
ONE_LINE_LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "lanes", "blocks", "tasks", "flows")
ACTIVE = re.compile(r"([\\`*_\[\]|~!#])")  # characters that Markdown interprets
ESCAPED_PIPE = re.compile(r"\\*\|")
AUTOLINK = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)", re.IGNORECASE)
WORD_JOINER = "\u2060"  # invisible, non-breaking: between ":" and "//" it prevents that an address becomes a link
HIDDEN = "***"
# Parameters of libpq; `passfile` and `sslkey` are paths.
LIBPQ_SECRETS = ("password", "sslpassword", "oauth_client_secret")
# Matches up to the last "@": a password that was not percent-encoded may contain "@".
_LOGIN = re.compile(r"://[^\s\"'<>]*@")
_FIELD = re.compile(
    r"\b(?!sslkey\b)([\w-]*(?:password|passwd|passphrase|pwd|secret|token|key|signature)[\w-]*)(\s*=\s*)"
    r"('(?:[^'\\]|\\.)*'?|[^\s&,;)\"']+)",
    re.IGNORECASE,
)
FOREIGN = re.compile(
    r"the provider answered \d{3}: |no answer from the provider: |\b[a-z_]+_error: |\brequest_too_large: "
)
ABOUT_AN_INPUT = re.compile(r"answered (?:400|413|422)|invalid_request_error|request_too_large")
QUOTED = re.compile(
    r"""(?<!\w)(?:'[^'\n]*(?:'(?!\w)|$)|"[^"\n]*(?:"|$)|`[^`\n]*(?:`|$)|“[^”\n]*(?:”|$))"""
)
WORD = re.compile(r"\d{4,}|\w{5,}")
# the suffix of the error of a failed item
ATTEMPTS_NOTE = re.compile(r" \(after [\d,]+ failed attempts?\)$")
WITHHELD = "its words may quote the input: see `lanes explain`"


def plain(text: object, *, most: int = 160) -> str:
    """Return the text as one line without control characters, cut to `most` characters with "..."."""
    whole = str(text)
    start = whole[: 4 * most]
    # Not printable: controls, direction overrides, surrogates, and spaces other than " ".
    visible = (
        start
        if start.isprintable()
        else "".join(char if char.isprintable() else " " for char in start)
    )
    line = " ".join(visible.split())
    if len(line) <= most and len(start) == len(whole):
        return line
    return line[: max(most - 3, 0)].rstrip() + "..."


def cell(text: object, *, most: int = 160) -> str:
    """Escape the text for a cell of a Markdown table, so that it forms no markup, HTML, link or column."""
    line = plain(text, most=most).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return AUTOLINK.sub(WORD_JOINER, ACTIVE.sub(r"\\\1", line))


def capitalize(clause: str) -> str:
    """Return a clause with a capital first letter; `str.capitalize` would also change the other letters."""
    return clause[:1].upper() + clause[1:]


def code(text: object, *, most: int = 60) -> str:
    """Format the text as inline code for a cell of a Markdown table.

    Inline code in a table cannot hold every character: backticks become apostrophes, and backslashes before a pipe are dropped.
    """
    line = ESCAPED_PIPE.sub(r"\\|", plain(text, most=most).replace("`", "'"))
    return f"`{line}`" if line else ""


def visible(text: str) -> str:
    """Return the text with each control character escaped; tabs and line feeds stay."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def strip_controls(text: str) -> str:
    """Return equivalent JSON without control characters, except for line feeds between values."""
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class VisibleStream:
    """A text stream that escapes control characters, for standard output and standard error."""

    def __init__(self, stream: TextIO) -> None:
        # rich writes to this attribute, so its own escape sequences pass; `Console` escapes the texts.
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Write the text and return its length."""
        self.rich_proxied_file.write(visible(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write the lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


class VisibleRecord(logging.LogRecord):
    """A log record without control characters; messages of Lanes' own loggers are one line each."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        if self.exc_info and self.exc_info[0] is not None:
            self.exc_text = visible(logging.Formatter().formatException(self.exc_info))

    def getMessage(self) -> str:
        """Return the escaped message with its arguments."""
        message = visible(super().getMessage())
        return message.replace("\n", "\\n") if self.name.startswith(ONE_LINE_LOGGERS) else message


LOG_FORMAT = "LANES_LOG_FORMAT"
_log_ids: ContextVar[Mapping[str, object]] = ContextVar(
    "the ids of what is logged", default=MappingProxyType({})
)


@contextmanager
def log_ids(**ids: object) -> Iterator[None]:
    """Add ids, such as `batch=41`, to all JSON log lines that are written within the block."""
    token = _log_ids.set({**_log_ids.get(), **ids})
    try:
        yield
    finally:
        _log_ids.reset(token)


class JsonLine(logging.Formatter):
    """A formatter that writes a record as one line of JSON: time, level, logger, message, ids of `log_ids` and of the run."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line of JSON; the text of a record that is not a `VisibleRecord` is escaped too."""
        timestamp = datetime.fromtimestamp(record.created, UTC)
        fields: dict[str, object] = {
            "time": timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": visible(record.getMessage()),
            **_log_ids.get(),
        }
        if (run := getattr(record, "flow_run_id", None)) is not None:
            fields["run"] = run
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_text or visible(self.formatException(record.exc_info))
        return strip_controls(json.dumps(fields, ensure_ascii=False, default=str))


def logs_are_json() -> bool:
    """Return whether the environment sets the log format to JSON."""
    return os.environ.get(LOG_FORMAT) == "json"


def make_logs_visible() -> None:
    """Make all loggers of this process create `VisibleRecord`s, and write JSON if the environment sets that format."""
    logging.setLogRecordFactory(VisibleRecord)
    if not logs_are_json():
        return
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler())
    known = logging.Logger.manager.loggerDict.values()
    loggers = [root, *(each for each in known if isinstance(each, logging.Logger))]
    for handler in {handler for each in loggers for handler in each.handlers}:
        if isinstance(handler, logging.StreamHandler):
            handler.setFormatter(JsonLine())
            # Prefect's handler wraps, colours and rewrites text; the handler stays, because Prefect finds it by its name
            handler.emit = MethodType(logging.StreamHandler.emit, handler)


def mask_secrets(text: str) -> str:
    """Return the text with `***` in place of each login in an address and each field with a secret's name."""
    return _FIELD.sub(rf"\1\2{HIDDEN}", _LOGIN.sub(f"://{HIDDEN}@", text))


def has_secret(address: str) -> bool:
    """Return whether the address contains a login or a secret field."""
    return mask_secrets(address) != address


def split_login(address: str) -> tuple[str, str | None]:
    """Split an HTTP address into the address without its login, and the login as `user:password` or None."""
    parts = urlsplit(address)
    login, at, host = parts.netloc.rpartition("@")
    return (urlunsplit(parts._replace(netloc=host)), unquote(login)) if at else (address, None)


def basic_auth(login: str | None) -> dict[str, str]:
    """Return the HTTP header that sends the login, or no header without a login."""
    if login is None:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def mask_address(address: str) -> str:
    """Return an HTTP address that is safe to show: without its login, and with its secret fields masked."""
    try:
        return mask_secrets(split_login(address)[0])
    except ValueError:  # not a valid address
        return mask_secrets(address)


def describe_error(error: Exception) -> str:
    """Return an error's text without input values: for a validation error, only field names and error types."""
    from pydantic import ValidationError  # slow to import, and the command line needs no pydantic

    if not isinstance(error, ValidationError):
        return str(error)
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return f"{error.title}: " + "; ".join(
        f"{'.'.join(map(str, each['loc']))}: {each['type']}" for each in faults
    )


def remove_quotes(error: str, payloads: Iterable[Any] | None = None) -> str:
    """Return an attempt's error without the text that the provider quotes; errors of Lanes quote nothing and stay unchanged.

    If the provider refused the input itself, its words are kept only if `payloads` is given and shares no word with them.
    """
    foreign = FOREIGN.search(error)
    if foreign is None:
        return error
    added = ATTEMPTS_NOTE.search(error)
    end = added.start() if added else len(error)
    head, words, tail = error[: foreign.end()], error[foreign.end() : end], error[end:]
    if ABOUT_AN_INPUT.search(head) and (payloads is None or _echoes(words, payloads)):
        return f"{head.removesuffix(': ')} ({WITHHELD}){tail}"
    return head + QUOTED.sub('"..."', words) + tail


def _echoes(words: str, payloads: Iterable[Any]) -> bool:
    in_error = set(WORD.findall(words.casefold()))
    return any(
        in_error.intersection(WORD.findall(text.casefold()))
        for each in payloads
        for text in _texts(each)
    )


def _texts(payload: Any) -> Iterator[str]:
    stack = [payload]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            stack += node.values()
        elif isinstance(node, list | tuple):
            stack += node
        elif node is not None and not isinstance(node, bool):
            yield str(node)
