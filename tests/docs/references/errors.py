"""docs/reference/errors.md: the errors of Lanes, who raises each and how to handle it, and the reasons of doors."""

import inspect
import re

from lanes import errors
from lanes.errors import LanesError
from tests.docs.references.markdown import block, code, document, said_of, table

ABOUT = """
Everything that Lanes raises on purpose is a `lanes.errors.LanesError`; its text is one sentence that says what happened, to
what, and what to do. Catch the narrowest that you can answer. What is none of these is a fault of Lanes, or of what it
stands on.
"""
PART = re.compile(
    r"^(?P<name>Raised by|What to do): (?P<said>.+?)(?=\n[A-Z][\w ]+: |\Z)",
    re.DOTALL | re.MULTILINE,
)
OF_REFUSALS = {
    "malformed": "A field is missing, unknown or of the wrong kind: `detail` names it and what it should hold.",
    "unknown_workload": "Nothing of that name is published: `lanes publish`, or correct the name.",
    "payload_too_large": "The payload is larger than the workload's `max_payload_kib`: shorten it, or raise that.",
    "too_many_amendments": "Of an item, or for items that never came, no more amendments are kept: `detail` says which.",
    "schema_mismatch": "The payload breaks the workload's `input_schema`: `detail` names the path and the rule.",
    "job_conflict": "A job of this name holds other content, or items of another workload or consumer: name another job.",
    "foreign_consumer": "The sender's login is bound to other consumers, which `detail` names: name one, or have it bound.",
    "unknown_item": "A bound login amends an item that is not there, or not of its consumers: send the item first.",
    "job_budget": "The items of a job are quoted at more than its budget: raise it, or send less.",
    "key_conflict": "An item of this key says something else: amend it, or use another key.",
    "archived": "The item is archived, and changes no more: submit its input under another key.",
    "not_utf8": "A line of a file is not UTF-8: save the file as UTF-8.",
    "broken_line": "A line of a file is not JSON, has other columns than its header, or is longer than 16 MiB.",
}


def page() -> str:
    """Return the page."""
    found = tree()
    return document(
        "Errors",
        ABOUT,
        block("text", "\n".join("    " * depth + each.__name__ for depth, each in found)),
        *(_section(each) for _, each in found),
        "## What a door refuses",
        "A refused input is kept in view [`rejected_log`](views.md#rejected_log), told by the event "
        "[`lanes.item.rejected`](events.md#lanesitemrejected), and raised by the Python client as "
        "`Refused`, or as `UnknownWorkload`.",
        table(
            ("reason", "what to do"), [(code(reason), text) for reason, text in OF_REFUSALS.items()]
        ),
    )


def tree(of: type[LanesError] = LanesError, depth: int = 0) -> list[tuple[int, type[LanesError]]]:
    """Return each error class with its depth, in the order of the file."""
    known = [
        each
        for each in vars(errors).values()
        if inspect.isclass(each) and issubclass(each, LanesError)
    ]
    mine = [each for each in known if of in each.__bases__]
    return [(depth, of), *(below for each in mine for below in tree(each, depth + 1))]


def parts(of: type[LanesError]) -> dict[str, str]:
    """Return the "Raised by" and "What to do" parts of the error's docstring."""
    return {
        each["name"]: " ".join(each["said"].split())
        for each in PART.finditer(inspect.cleandoc(of.__doc__ or ""))
    }


def _section(of: type[LanesError]) -> str:
    return "\n\n".join(
        [
            f"## {of.__name__}",
            said_of(of),
            *(f"**{name}**: {said}" for name, said in parts(of).items()),
        ]
    )
