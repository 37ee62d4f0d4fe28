"""What a database has in force: its functions, views, types and triggers, as Postgres writes them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from lanes.store.current.files import Piece
from lanes.store.tables import SCHEMA

_DEFINITIONS = text("""
with found (kind, class, oid, name, definition) as (
  select 'function', 'pg_proc'::regclass, oid, proname, pg_get_functiondef(oid)
    from pg_proc where pronamespace = cast(:schema as regnamespace) and prokind in ('f', 'p')
  union all
  select 'view', 'pg_class'::regclass, c.oid, c.relname,
         concat_ws(E'\\n', pg_get_viewdef(c.oid), c.reloptions::text)
    from pg_class c where relnamespace = cast(:schema as regnamespace) and relkind = 'v'
  union all
  select 'type', 'pg_type'::regclass, c.reltype, c.relname,
         (select string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' order by attnum)
            from pg_attribute where attrelid = c.oid and not attisdropped)
    from pg_class c where relnamespace = cast(:schema as regnamespace) and relkind = 'c'
  union all
  select 'trigger', 'pg_trigger'::regclass, t.oid, c.relname || '_' || t.tgname, pg_get_triggerdef(t.oid)
    from pg_trigger t join pg_class c on c.oid = t.tgrelid
   where c.relnamespace = cast(:schema as regnamespace) and not t.tgisinternal)
select kind, name, (pg_identify_object(class, oid, 0)).identity, definition,
       obj_description(oid, class::name) as comment,
       array(select objsubid || ': ' || description from pg_description d
              where d.classoid = class and d.objoid = found.oid and objsubid > 0) as remarks,
       class::oid as class_id, oid
  from found order by kind, name, identity
""")

# What holds on to an object, through its row type as well, and what holds on to that in turn. What is its own part (a view's
# rule, its row type) is followed and not told.
_LEANING = text("""
with recursive leaning (class, oid, own) as (
  select cast(:class as oid), cast(:oid as oid), true
   union
  select case when r.oid is null then d.classid else 'pg_class'::regclass::oid end, coalesce(r.ev_class, d.objid),
         d.deptype = 'i'
    from leaning l
    join pg_depend d on d.refclassid = l.class and d.refobjid = l.oid
    left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid)
select distinct (pg_identify_object(class, oid, 0)).type, (pg_identify_object(class, oid, 0)).identity
  from leaning
 where not own and (class, oid) <> (cast(:class as oid), cast(:oid as oid))
 order by 2
""")


@dataclass(frozen=True)
class Definition:
    """An object as the database has it; `identity` tells functions of one name apart."""

    kind: str
    name: str
    identity: str
    definition: str
    comment: str | None
    remarks: frozenset[str] = field(compare=False)  # the comments on its columns
    class_id: int = field(compare=False)
    oid: int = field(compare=False)

    def is_as(self, to_stand: "Definition") -> bool:
        """Whether nothing of it need change; on a column of a view, somebody else may have remarked more."""
        return self == to_stand and to_stand.remarks <= self.remarks


def definitions(connection: Connection) -> list[Definition]:
    """Everything of these kinds that schema `lanes` has."""
    return _read(connection, SCHEMA)


def wanted(connection: Connection, said: Sequence[Piece]) -> dict[tuple[str, str], Definition]:
    """What the database would have, by kind and name, if these pieces were in force and nothing else changed; nothing but
    temporary objects are made, and gone again.

    Raises:
        ProgrammingError: one of them uses what is not in force yet.
    """
    with connection.begin_nested() as attempt:
        run(connection, ";\n".join(piece.twin for piece in said))
        own = connection.execute(
            text("select pg_my_temp_schema()::regnamespace::text")
        ).scalar_one()
        twins = {(each.kind, each.name): each for each in _read(connection, own)}
        attempt.rollback()
    return twins


def leaning_on(connection: Connection, on: Definition) -> list[tuple[str, str]]:
    """Kind and identity of what would be dropped with an object."""
    rows = connection.execute(_LEANING, {"class": on.class_id, "oid": on.oid})
    return [(row.type, row.identity) for row in rows]


def run(connection: Connection, sql: str) -> None:
    """Any number of statements, as they stand."""
    connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


def _read(connection: Connection, schema: str) -> list[Definition]:
    def here(said: str) -> str:
        return (
            said.replace(f"{schema}.", f"{SCHEMA}.").replace("pg_temp.", f"{SCHEMA}.")
            if schema != SCHEMA
            else said
        )

    return [
        Definition(
            row.kind,
            row.name,
            here(row.identity),
            here(row.definition),
            row.comment,
            frozenset(row.remarks),
            row.class_id,
            row.oid,
        )
        for row in connection.execute(_DEFINITIONS, {"schema": schema})
    ]
