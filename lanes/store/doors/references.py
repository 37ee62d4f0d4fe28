"""Reference rows: what tables and views of the operator hold for the items of a batch, read in one query for each of them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
from psycopg.errors import InsufficientPrivilege, QueryCanceled
from sqlalchemy.exc import DBAPIError

from lanes.errors import LanesError, RuleFailed
from lanes.ids import WorkId
from lanes.store.doors import history
from lanes.workload.context import CUT, Context, ContextPart, ContextTag, Reference
from lanes.workload.version import Version

K = TypeVar("K")
PATIENCE = timedelta(seconds=5)  # the longest that one query may take
COLUMN = sa.text("""
select c.oid, format_type(a.atttypid, -1) as kind
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  left join pg_attribute a on a.attrelid = c.oid and a.attname = :column and a.attnum > 0 and not a.attisdropped
 where n.nspname = :schema and c.relname = :name
""")
_SET = sa.text("select set_config('statement_timeout', :limit, true)")


class ReferenceFailed(LanesError):
    """The rows of a reference cannot be read, so that the items of its workload wait."""


def load(
    connection: sa.Connection, version: Version, items: Mapping[K, Mapping[str, Any]]
) -> dict[K, tuple[ContextPart, ...]]:
    """Return the reference parts of each item, given the variables of its key; each part is there, also without rows.

    Raises:
        ReferenceFailed: a table or view is missing, may not be read or is too slow; the transaction goes on.
    """
    found = dict[K, tuple[ContextPart, ...]]()
    for of in version.spec.context.reference:
        keys = {id_: key for id_, read in items.items() if (key := _key(of, read)) is not None}
        rows = _rows(connection, of, sorted(set(keys.values())))
        for id_ in items:
            said = _within(of, rows.get(keys.get(id_, ""), ()))
            found[id_] = (
                *found.get(id_, ()),
                ContextPart(said, ContextTag.REFERENCE, name=of.name),
            )
    return found


def read(
    connection: sa.Connection, version: Version, works: Mapping[WorkId, Mapping[str, Any]]
) -> history.History:
    """Return the whole context of each work, in the order of the prompt, given the variables of its keys.

    Raises:
        ReferenceFailed: reference rows cannot be read; the transaction goes on.
    """
    found = history.of_work(connection, [*works], version)
    for id_, rows in load(connection, version, works).items():
        found[id_] = (*found.get(id_, ()), *rows)
    return found


def check(connection: sa.Connection, context: Context) -> list[str]:
    """Return why references of the context cannot be read now."""
    said = list[str]()
    for of in context.reference:
        try:
            _rows(connection, of, [""])
        except ReferenceFailed as failure:
            said.append(str(failure))
    return said


def _key(of: Reference, variables: Mapping[str, Any]) -> str | None:
    """Return the key of an item as text; None where it has none, as when a field is missing."""
    try:
        value = of.rule.value(variables)
    except RuleFailed:
        return None
    return str(value) if isinstance(value, str | int | float) else None


def _within(of: Reference, rows: Sequence[str]) -> str:
    """Return the rows as lines of JSON, as far as the limits allow."""
    lines, left = list[str](), of.bytes
    for row in rows[: of.rows]:
        left -= len(row.encode()) + 1
        if left < 0:
            break
        lines.append(row)
    return "\n".join([*lines, *([CUT] if len(lines) < len(rows) else [])]) or "(no rows)"


def _rows(
    connection: sa.Connection, of: Reference, keys: Sequence[str]
) -> Mapping[str, Sequence[str]]:
    """Return the rows by key, in the order of their text: one more than the limit, if there are more."""
    schema, _, name = of.relation.partition(".")
    found = defaultdict[str, list[str]](list)
    with _limited(connection, of):
        column = connection.execute(
            COLUMN, {"schema": schema, "name": name, "column": of.column}
        ).first()
        if column is None:
            raise ReferenceFailed(
                f'reference "{of.name}": there is no table or view {of.relation}; create it'
            )
        if column.kind is None:
            raise ReferenceFailed(
                f'reference "{of.name}": {of.relation} has no column "{of.column}"; correct it'
            )
        for row in connection.execute(_query(of, schema, name, column.kind), {"keys": keys}):
            found[row.key].append(row.said)
    return found


def _query(of: Reference, schema: str, name: str, kind: str) -> sa.Select[Any, Any]:
    """Select the rows of :keys; `kind` is the type of the column, as the catalog writes it.

    Keys that the type cannot hold have no rows: an item must not make the query fail for its neighbours.
    """
    given = sa.func.unnest(sa.bindparam("keys", type_=sa.ARRAY(sa.Text)))
    given = given.table_valued(sa.column("key", sa.Text), name="given").render_derived()
    is_valid = sa.func.pg_input_is_valid(given.c.key, sa.literal(kind, sa.Text))
    keys = sa.select(given.c.key).where(is_valid).cte("k").prefix_with("materialized", dialect="*")
    rows = sa.table(name, sa.column(of.column), schema=schema).alias("t")
    said = sa.cast(sa.func.to_jsonb(sa.literal_column("t")), sa.Text).collate("C").label("said")
    matches = rows.c[of.column] == sa.literal_column(f"cast(k.key as {kind})")
    each = sa.select(said).select_from(rows).where(matches).order_by(said).limit(of.rows + 1)
    found = each.correlate(keys).lateral("found")
    cut = sa.func.left(found.c.said, of.bytes + 1).label("said")
    return sa.select(keys.c.key, cut).select_from(keys.join(found, sa.true()))


@contextmanager
def _limited(connection: sa.Connection, of: Reference) -> Iterator[None]:
    """Bound how long statements within may take; where one fails, what was done within is undone."""
    try:
        with connection.begin_nested():
            before = connection.execute(sa.text("show statement_timeout")).scalar_one()
            connection.execute(_SET, {"limit": f"{PATIENCE.total_seconds() * 1000:.0f}ms"})
            yield
            connection.execute(_SET, {"limit": before})
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        raise ReferenceFailed(f'reference "{of.name}": {_why(of, error.orig)}') from error


def _why(of: Reference, error: Any) -> str:
    schema = of.relation.partition(".")[0]
    if isinstance(error, InsufficientPrivilege):
        grants = f"grant usage on schema {schema} to lanes_worker; grant select on {of.relation} to lanes_worker"
        return f"Lanes may not read {of.relation}: {grants}"
    if isinstance(error, QueryCanceled):
        return (
            f"{of.relation} did not answer within {PATIENCE.total_seconds():g} s: "
            f'give its column "{of.column}" an index, or make the view a table'
        )
    return f"{of.relation} cannot be read: {str(error).splitlines()[0]}"
