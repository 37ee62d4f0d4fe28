"""docs/reference/commands.md: every command with its arguments, as `--help` describes them."""

import inspect
import re
from decimal import Decimal
from enum import Enum
from typing import Any, get_args, get_origin

from cyclopts import App
from cyclopts.argument import Argument

from lanes.cli import app
from tests.docs.references.fields import KINDS
from tests.docs.references.markdown import code, document, listed, table

ABOUT = """
`lanes` is `.venv/bin/lanes` of a checkout. Every command has `--help`. Exit codes: 0 it went well, 1 it failed or something
is wrong, 2 it was called wrongly, or there is no such workload or item. `--json` prints data for programs. What takes longer
than a second shows its progress on standard error.

`lanes adopt`, `lanes resubmit` and `lanes give-up` say first what they may cost, and act with `--yes`. `lanes publish` shows
what differs first, and asks.
"""
OF_ARGUMENTS = {
    "WORKLOAD": "Name of a published workload.",
    "KEY": "Key of the item.",
    "FILE": "The file.",
    "PROVIDER_BATCH": "The provider's name of the batch, such as msgbatch_01ab.",
}
EXAMPLE = re.compile(r"^Example: (?P<typed>lanes .+)$", re.MULTILINE)
NUMBERS = {Decimal: "number", **KINDS}


def page() -> str:
    """Return the page."""
    found = {name: app[name] for name in app if not name.startswith("-")}
    overview = table(
        ("command", "what it does"),
        [(f"[`{name}`](#{name})", summary(each)) for name, each in found.items()],
    )
    return document(
        "Commands", ABOUT, overview, *(section(name, each) for name, each in found.items())
    )


def summary(command: App) -> str:
    """Return the first sentence of a command's help."""
    return " ".join(_help(command).partition("\n\n")[0].split())


def section(name: str, command: App) -> str:
    """Return the section about one command."""
    found = command.assemble_argument_collection(parse_docstring=True)
    arguments = [each for each in found if each.show and each.names]
    placed = [each for each in arguments if _is_placed(each)]
    usage = " ".join(
        [
            "lanes",
            name,
            *(_place(each) for each in placed),
            *(["[options]"] if len(arguments) > len(placed) else []),
        ]
    )
    rows = [(_named(each), _kind(each), _default(each), _said(each)) for each in arguments]
    return "\n\n".join(
        [
            f"## {name}",
            code(usage),
            _help(command),
            table(("argument", "kind", "default", "description"), rows),
        ]
    )


def _help(command: App) -> str:
    said = inspect.cleandoc(command.help or "").partition("\n\nArgs:\n")[0]
    return EXAMPLE.sub(lambda found: f"Example: {code(found['typed'])}", said)


def _is_placed(argument: Argument) -> bool:
    return argument.index is not None


def _title(argument: Argument) -> str:
    return argument.names[0].lstrip("-").upper().replace("-", "_")


def _place(argument: Argument) -> str:
    shown = "|".join(argument.get_choices() or [_title(argument)])
    return shown if argument.required else f"[{shown}]"


def _named(argument: Argument) -> str:
    return code(_title(argument)) if _is_placed(argument) else " ".join(map(code, argument.names))


def _kind(argument: Argument) -> str:
    if choices := argument.get_choices():
        return listed(choices)
    return "switch" if argument.hint is bool else _words(argument.hint)


def _words(hint: Any) -> str:
    parts = [each for each in get_args(hint) if each not in (type(None), ...)]
    if get_origin(hint) in (list, tuple):
        return f"{_words(parts[0])}, one or more"
    return _words(parts[0]) if parts else NUMBERS[hint]


def _default(argument: Argument) -> str:
    value = argument.field_info.default
    if argument.required:
        return "required"
    if value is inspect.Parameter.empty or value is None or value is False or value == "":
        return ""
    if value is True:
        return "on"
    return code(
        value.value
        if isinstance(value, Enum)
        else f"{value:g}"
        if isinstance(value, float)
        else value
    )


def _said(argument: Argument) -> str:
    return argument.parameter.help or OF_ARGUMENTS[_title(argument)]
