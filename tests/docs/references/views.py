"""docs/reference/views.md: every view, and every column with its type, as the database itself says it."""

from itertools import groupby

from sqlalchemy import Connection, text

from tests.docs.references.markdown import code, document, table

ABOUT = """
Read Lanes through these views of schema `lanes`: with psql (`lanes psql`), Grafana, Metabase or any client of Postgres
(`lanes url database` prints the address). They stay as they are between releases; columns may be added. The tables below
them may change. In psql, `\\d+ lanes.item_status` shows the same comments.

Moments are `timestamptz`. Costs are US dollars. To take a result and record who read it, call `lanes.read_result(workload,
key, reader)`.
"""
COLUMNS = text("""
select c.relname as view, obj_description(c.oid, 'pg_class') as said, a.attname as name,
       format_type(a.atttypid, a.atttypmod) as kind, col_description(c.oid, a.attnum) as holds
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid
 where c.relnamespace = 'lanes'::regnamespace and c.relkind = 'v' and a.attnum > 0 and not a.attisdropped
 order by c.relname, a.attnum
""")
KINDS = {"timestamp with time zone": "timestamptz", "double precision": "double"}


def page(connection: Connection) -> str:
    """The page."""
    views = [
        (*named, list(columns)) for named, columns in groupby(connection.execute(COLUMNS), lambda row: (row.view, row.said))
    ]
    overview = table(("view", "what a row is"), [(f"[`{view}`](#{view})", said) for view, said, _ in views])
    parts = [
        f"## {view}\n\n{said}.\n\n"
        + table(
            ("column", "type", "what it holds"), [(code(c.name), KINDS.get(c.kind, c.kind), c.holds or "") for c in columns]
        )
        for view, said, columns in views
    ]
    return document("Views", ABOUT, overview, *parts)
