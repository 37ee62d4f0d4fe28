"""docs/reference/errors.md: what Lanes raises on purpose, what to do about each, and the reasons of doors."""

import inspect

from lanes import errors
from lanes.errors import LanesError
from tests.docs.references.markdown import block, code, document, of_each, said_of, table

ABOUT = """
Everything that Lanes raises on purpose is a `lanes.errors.LanesError`; its text is one sentence that says what happened, to
what, and what to do. Catch the narrowest that you can answer. What is none of these is a fault of Lanes, or of what it
stands on.
"""
WHAT_TO_DO = {
    "SpecInvalid": "Correct the fields that it names; the version before stays in force. `problems` lists them.",
    "UnknownWorkload": "Publish it (`lanes publish`), or correct the name: `lanes export NAME` knows those in force.",
    "UnknownItem": "Correct the key, or submit the item first.",
    "NeverAnswered": "Stop waiting. Which of the three below it is says what helps.",
    "ItemFailed": "Read why with `lanes explain`, mend the cause, then `lanes retry`.",
    "ItemCanceled": "Nothing: its owner withdrew it. Submit it anew under another key if that was wrong.",
    "AnswerEmptied": "Submit it anew under another key, or raise `keep_payload_days` for those to come.",
    "Refused": "`reason` is one word of the table below, the text says what to correct; then send it again.",
    "RuleFailed": "Guard the rule with `has()` or `!= null`: the item was routed as if it did not hold.",
    "PlaybookInvalid": "Correct the lines that it names; nothing has moved. `problems` lists them.",
    "ActionRefused": "Do what the sentence says first; nothing was changed.",
    "StillLocked": "Try again. If it stays so, look for a transaction that somebody left open.",
    "DatabaseAway": "Try again with the same key: an item that was admitted already is a duplicate, and nothing is paid twice.",
    "TransactionUnfit": "Give a connection of the same database, outside a failed or read-only transaction.",
    "SetupError": "Change the setting that it names, then `lanes up`; `lanes doctor` checks all of them.",
}
OF_REFUSALS = {
    "malformed": "A field is missing, unknown or of the wrong kind: `detail` names it and what it should hold.",
    "unknown_workload": "Nothing of that name is published: `lanes publish`, or correct the name.",
    "payload_too_large": "The payload is larger than the workload's `max_payload_kib`: shorten it, or raise that.",
    "key_conflict": "An item of this key says something else: amend it, or use another key.",
    "not_utf8": "A line of a file is not UTF-8: save the file as UTF-8.",
    "broken_line": "A line of a file is not JSON, or has other columns than its header.",
}


def page() -> str:
    """The page."""
    found = _tree()
    said = of_each([each.__name__ for _, each in found if each is not LanesError], WHAT_TO_DO, what="errors")
    rows = [(code(each.__name__), said_of(each), said[each.__name__]) for _, each in found if each is not LanesError]
    return document(
        "Errors", ABOUT, block("text", "\n".join("    " * depth + each.__name__ for depth, each in found)),
        table(("error", "what is true", "what to do"), rows),
        "## What a door refuses",
        "A refused input is kept in view [`rejected_log`](views.md#rejected_log), told by the event "
        "[`lanes.item.rejected`](events.md), and raised by the Python client "
        "(`raise_for_refusal()`) as `Refused`, or as `UnknownWorkload`.",
        table(("reason", "what to do"), [(code(reason), text) for reason, text in OF_REFUSALS.items()]),
    )  # fmt: skip


def _tree(of: type[LanesError] = LanesError, depth: int = 0) -> list[tuple[int, type[LanesError]]]:
    """Each with its depth, in the order of the file."""
    mine = [each for each in vars(errors).values() if inspect.isclass(each) and of in each.__bases__]
    return [(depth, of), *(below for each in mine for below in _tree(each, depth + 1))]
