"""docs/reference/views.md: every view, and every column with its type, as the database reports them."""

import re
from itertools import groupby

from sqlalchemy import Connection, text

from tests.docs.references import words
from tests.docs.references.markdown import code, document, table

ABOUT = """
Read Lanes through these views of schema `lanes`: with psql (`lanes psql`), Grafana, Metabase or any client of Postgres
(`lanes url database` prints the address). They stay as they are between releases; columns may be added. The tables below
them may change. In psql, `\\d+ lanes.item_status` shows the same comments.

Moments are `timestamptz`. Costs are US dollars. To take a result and record who read it, call `lanes.read_result(workload,
key, reader)`.

A question by workload and key, by a moment, or for the newest items of a workload (`item_status`, `order by received_at
desc`) is answered quickly after years. Ask a log for its newest rows with a time:
`where decided_at > now() - interval '1 day' order by decided_at desc`.
"""
COLUMNS = text("""
select c.relname as view, obj_description(c.oid, 'pg_class') as said, a.attname as name,
       format_type(a.atttypid, a.atttypmod) as kind, col_description(c.oid, a.attnum) as holds
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid
 where c.relnamespace = 'lanes'::regnamespace and c.relkind = 'v' and a.attnum > 0 and not a.attisdropped
 order by c.relname, a.attnum
""")
FUNCTIONS = text("""
select proname as name, pg_get_function_arguments(oid) as takes, pg_get_function_result(oid) as gives,
       obj_description(oid, 'pg_proc') as said
  from pg_proc where pronamespace = 'lanes'::regnamespace and proname = any(:names)
 order by array_position(:names, proname::text)
""")
CALLED = [
    "submit",
    "submit_item",
    "submit_many",
    "amend",
    "cancel",
    "label",
    "read_result",
    "reads_to_correct",
    "own_result",
    "own_item",
    "own_items_since",
    "own_results_since",
    "own_corrections_since",
]  # for senders, readers and tenants
DEFAULT = re.compile(r"(?P<name>\w+) (?P<kind>[\w ]+?) DEFAULT [^,]+")
OF_FUNCTIONS = """
Call these in your own transaction, in the same database: what they do is committed with it, or not at all. Arguments in
brackets may be left out; give them by name (`key => 't-1'`). A refusal raises no error.
"""
OF_WORDS = (
    "One word for one thing, in the columns above, in logs, in the UI and in these pages. "
    "Who moves it on stands beside it."
)
KINDS = {"timestamp with time zone": "timestamptz", "double precision": "double"}


def page(connection: Connection) -> str:
    """Return the page."""
    views = [
        (*named, list(columns))
        for named, columns in groupby(connection.execute(COLUMNS), lambda row: (row.view, row.said))
    ]
    overview = table(
        ("view", "what a row is"), [(f"[`{view}`](#{view})", said) for view, said, _ in views]
    )
    parts = [
        f"## {view}\n\n{said}.\n\n"
        + table(
            ("column", "type", "what it holds"),
            [(code(c.name), _shorter(c.kind), c.holds or "") for c in columns],
        )
        for view, said, columns in views
    ]
    functions = [
        (code(each.name), _arguments(each.takes), code(_shorter(each.gives)), each.said)
        for each in connection.execute(FUNCTIONS, {"names": CALLED})
    ]
    return document(
        "Views",
        ABOUT,
        overview,
        *parts,
        "## Functions",
        OF_FUNCTIONS,
        table(("function of schema lanes", "takes", "gives", "what it does"), functions),
        "## Words",
        OF_WORDS,
        *map(words.section, words.WORDS),
    )


def _arguments(takes: str) -> str:
    return ", ".join(
        code(each)
        for each in DEFAULT.sub(r"[\g<name> \g<kind>]", _shorter(takes)).split(", ")
        if "[at " not in each
    )


def _shorter(kind: str) -> str:
    for long, short in KINDS.items():
        kind = kind.replace(long, short)
    return kind
