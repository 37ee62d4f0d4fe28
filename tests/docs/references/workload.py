"""docs/reference/workload.md: the fields of a definition, its promises, and rules with evaluated examples."""

from typing import Any

import yaml

from lanes.errors import RuleFailed
from lanes.workload.context import Context, EntityHistory, Reference
from lanes.workload.definition_file import read
from lanes.workload.form import Promises
from lanes.workload.rules import LEAST_INPUT, MOST_CHARACTERS, VARIABLES, Rule
from lanes.workload.schemas import MOST_KIB
from lanes.workload.version import ConsumerTerms, SecondPass, Spec
from tests.docs.references.fields import model_table
from tests.docs.references.markdown import block, code, document, of_each, table

ABOUT = """
A workload is one kind of AI work. Its definition is a YAML file, or a block of type *Lanes workload* in the Prefect UI: both
have the fields below, and the file has `name` beside them. `lanes init NAME` drafts a file, `lanes publish FILE` puts it in
force, and `lanes export NAME` writes what is in force. Each change makes a new version; items keep the version that answered
them.

`name` holds 1 to 63 of a-z, 0-9 and "-", and starts with a letter. A field that is not known, a rule that cannot be read, or
a model without a price is refused with its line and column, and the version before stays in force.
"""
EXAMPLE = """
name: reviews
instructions: |
  You read one product review. Say what it is about, and whether the customer wants an answer.
output_schema:
  type: object
  additionalProperties: false
  required: [about, wants_answer]
  properties:
    about: {type: string, enum: [quality, delivery, price, other]}
    wants_answer: {type: boolean}
urgent_when: has(payload.stars) && payload.stars <= 1
batch_when: age_s > 86400.0
batch_pack: 10
promises:
  realtime_p95_s: 10
"""
OF_RULES = """
`urgent_when` and `batch_when` are expressions in [CEL](https://cel.dev) that are true or false of an item. `urgent_when` is
asked first: where it holds, the item goes to real-time. Where `batch_when` holds, it goes to batch, unless its sender or its
due time asks for real-time. Where neither holds, value and split decide. A rule that cannot be computed for an item does not
hold, and `lanes explain` says why: ask `has(payload.field)` before a field that may be missing, and `due_in_s != null`
before comparing.
"""
SAID_OF_VARIABLES = {
    "payload": "what the item says, a JSON object",
    "age_s": "seconds since the item occurred, a number",
    "due_in_s": "seconds until it is due, a number; `null` without a due time",
    "consumer": "who reads the result, a text; `null` where none is named",
}
ITEM: dict[str, Any] = {
    "payload": {
        "text": "Call me URGENTLY",
        "channel": "chat",
        "stars": 1,
        "tags": ["vip"],
        "lines": [{"n": 1}, {"n": 9}],
    },
    "age_s": 90.0,
    "due_in_s": 1200.0,
    "consumer": "support-desk",
}
WITHOUT_DUE = ITEM | {"due_in_s": None}
RULES = (
    ('payload.channel == "chat"', ITEM, "a field has a value"),
    ('has(payload.region) && payload.region == "eu"', ITEM, "a field that may be missing"),
    (
        'payload.region == "eu"',
        ITEM,
        "the same without asking: it cannot be computed, so it does not hold",
    ),
    ('payload.channel in ["chat", "phone"]', ITEM, "one of several"),
    ('payload.text.contains("urgent")', ITEM, "a word, exactly so: upper case differs"),
    (
        r'payload.text.matches(r"(?i)\b(urgent|at once)")',
        ITEM,
        "a regular expression; `(?i)` ignores case",
    ),
    ("payload.stars <= 1", ITEM, "a number"),
    ('"vip" in payload.tags', ITEM, "a list has an entry"),
    ("payload.lines.exists(line, line.n > 5)", ITEM, "an entry of a list fits"),
    ("size(payload.text) > 2000", ITEM, "a long text"),
    ("age_s < 86400", ITEM, "it occurred within a day"),
    ("age_s / 3600 < 24", ITEM, "arithmetic that mixes a whole number with another"),
    ("age_s / 3600.0 < 24.0", ITEM, "the same with numbers of one kind"),
    ("due_in_s != null && due_in_s < 1800.0", ITEM, "due within half an hour"),
    (
        "due_in_s != null && due_in_s < 1800.0",
        WITHOUT_DUE,
        "the same of an item without a due time",
    ),
    ('consumer == "support-desk" && age_s < 3600.0', ITEM, "two conditions"),
)


LIMITS = f"""
A rule has a price limit. `all`, `exists`, `exists_one`, `map` and `filter` multiply what it costs, most of all within one
another; `map` and `filter` take time as the square of their list. What a rule may cost is worked out when it is published, for
any item of up to {LEAST_INPUT} values; an item that is too large for a rule counts as one for which it cannot be computed.
Patterns are those of Rust's `regex`, in linear time: they do not look around (`(?=...)`) or refer back (`\\1`), compile to at
most {MOST_KIB} KiB, and `\\d`, `\\w` and `\\b` know ASCII alone. A rule has up to {MOST_CHARACTERS:,} characters.
""".strip()


def page() -> str:
    """Return the page."""
    assert read(EXAMPLE.encode(), file="reviews.yaml").name == "reviews"
    variables = of_each(VARIABLES, SAID_OF_VARIABLES, what="variables of rules")
    return document(
        "Workload",
        ABOUT,
        block("yaml", EXAMPLE.strip()),
        "## Fields",
        model_table(Spec),
        "## Second pass",
        " ".join((SecondPass.__doc__ or "").split())
        + " [Lambda](../concepts/lambda.md#pay-for-the-second-pass-where-it-is-needed) says how it is decided.",
        model_table(SecondPass),
        "## Consumers",
        " ".join((ConsumerTerms.__doc__ or "").split())
        + " [Lanes and items](../concepts/lanes-and-items.md#the-real-time-lane) says how they take turns.",
        model_table(ConsumerTerms),
        "## Promises",
        " ".join((Promises.__doc__ or "").split())
        + " [Promises](promises.md) says what each tells in Slack.",
        model_table(Promises),
        "## Context",
        " ".join((Context.__doc__ or "").split())
        + " [Lambda](../concepts/lambda.md#full-data) shows an example. `entity` has the fields of the second table, an entry "
        "of `reference` those of the third.",
        *map(model_table, (Context, EntityHistory, Reference)),
        "## Rules",
        OF_RULES,
        table(("variable", "what it is"), [(code(name), said) for name, said in variables.items()]),
        "### Examples",
        "Each was evaluated for this item when the page was made, as `lanes dry-run FILE` does for yours:",
        block("yaml", _item()),
        table(("rule", "holds", "asks for"), [_row(*each) for each in RULES]),
        LIMITS,
        "A rule may stand over several lines (`>-` in YAML). `age_s` and `due_in_s` have a fraction: where you calculate with "
        "them, write `3600.0`. Comparing takes either.",
    )


def holds(rule: str, item: dict[str, Any]) -> str:
    """Return the result of the rule for this item."""
    try:
        return "yes" if Rule(rule).holds(item) else "no"
    except RuleFailed:
        return "cannot be computed"


def _row(rule: str, item: dict[str, Any], asks: str) -> tuple[str, str, str]:
    return code(rule), holds(rule, item), asks


def _item() -> str:
    return yaml.safe_dump(ITEM, sort_keys=False, default_flow_style=None, width=120)
