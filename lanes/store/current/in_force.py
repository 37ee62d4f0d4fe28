"""Functions, views, types and triggers in force: compared with the files, and replaced where they differ.

Each object is compared with a temporary twin, in the form in which Postgres prints both. The comparison takes no lock, so a
reader's open transaction delays only the replacement of a view that it has read. `alembic check` reports differences as well.
"""

from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import MigrateOperation, UpgradeOps
from alembic.runtime.plugins import Plugin
from alembic.script import ScriptDirectory
from alembic.util import PriorityDispatchResult
from psycopg.errors import DuplicateObject, InvalidFunctionDefinition, InvalidTableDefinition
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.schema import DropColumnComment, DropTableComment, SetColumnComment, SetTableComment

from lanes.errors import SetupError
from lanes.store.current.files import SqlFile, fingerprint, sql_files
from lanes.store.tables import SCHEMA, metadata

PLUGIN = "lanes.current"
# a removed column, another return type, an existing type
IRREPLACEABLE = InvalidTableDefinition | InvalidFunctionDefinition | DuplicateObject

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
              where d.classoid = class and d.objoid = found.oid and objsubid > 0) as column_comments,
       class::oid as class_id, oid
  from found order by kind, name, identity
""")

# All direct and indirect dependents of an object, including those through its row type. The query follows the object's own
# parts (a view's rule, its row type) but does not return them.
_DEPENDENTS = text("""
with recursive dependent (class, oid, own) as (
  select cast(:class as oid), cast(:oid as oid), true
   union
  select case when r.oid is null then d.classid else 'pg_class'::regclass::oid end, coalesce(r.ev_class, d.objid),
         d.deptype = 'i'
    from dependent l
    join pg_depend d on d.refclassid = l.class and d.refobjid = l.oid
    left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid)
select distinct (pg_identify_object(class, oid, 0)).type, (pg_identify_object(class, oid, 0)).identity
  from dependent
 where not own and (class, oid) <> (cast(:class as oid), cast(:oid as oid))
 order by 2
""")
_COMMENTS = text(f"""
select c.relname, null as attname, obj_description(c.oid, 'pg_class') as comment
  from pg_class c where relnamespace = '{SCHEMA}'::regnamespace
union all
select c.relname, attname, col_description(c.oid, attnum)
  from pg_class c join pg_attribute on attrelid = c.oid where relnamespace = '{SCHEMA}'::regnamespace
""")


@dataclass(frozen=True)
class DbObject:
    """An object in the database; `identity` distinguishes overloaded functions."""

    kind: str
    name: str
    identity: str
    definition: str
    comment: str | None
    column_comments: frozenset[str] = field(compare=False)
    class_id: int = field(compare=False)
    oid: int = field(compare=False)

    def matches(self, wanted: "DbObject") -> bool:
        """Return whether the object needs no change; a person may have added comments on more columns of a view."""
        return self == wanted and wanted.column_comments <= self.column_comments


def objects(connection: Connection, schema: str = SCHEMA) -> list[DbObject]:
    """Return every function, view, type and trigger of a schema, named as if they were in schema `lanes`."""

    def use_our_schema(sql: str) -> str:
        return sql.replace(f"{schema}.", f"{SCHEMA}.").replace("pg_temp.", f"{SCHEMA}.")

    return [
        DbObject(
            row.kind,
            row.name,
            use_our_schema(row.identity),
            use_our_schema(row.definition),
            row.comment,
            frozenset(row.column_comments),
            row.class_id,
            row.oid,
        )
        for row in connection.execute(_DEFINITIONS, {"schema": schema})
    ]


def put_in_force(connection: Connection, files: Sequence[SqlFile]) -> list[str]:
    """Replace the objects that differ from their files, each after those that it uses, and return the files that differed.

    An object that cannot be replaced in place (a view loses a column, a function has other arguments) is dropped together with
    our objects that depend on it, and all of them are created again.

    Raises:
        SetupError: an object that is not ours depends on an object that must be dropped.
    """
    differed: list[str] = []
    db_objects = objects(connection)
    twins = _Twins(connection, files, db_objects)
    for sql_file in files:
        present = _of(sql_file, db_objects)
        wanted = twins.of(sql_file) if present else None
        if wanted and _matches(present, wanted):
            continue
        differed.append(sql_file.file)
        twins.changed.append(sql_file)
        in_place = all(wanted and other.identity == wanted.identity for other in present)
        if not (in_place and _try_replace(connection, sql_file)):
            _drop(
                connection, present, ours=[one for file in files for one in _of(file, db_objects)]
            )
            _run(connection, sql_file.sql)
            db_objects = objects(connection)
    return differed


def put_comments(connection: Connection) -> None:
    """Set the comments of tables and columns from lanes/store/tables/, where the database differs."""
    comments = {(row.relname, row.attname): row.comment for row in connection.execute(_COMMENTS)}
    for table in metadata.sorted_tables:
        if table.comment != comments[table.name, None]:
            connection.execute(SetTableComment(table) if table.comment else DropTableComment(table))
        for column in table.columns:
            if column.comment != comments[table.name, column.name]:
                connection.execute(
                    SetColumnComment(column) if column.comment else DropColumnComment(column)
                )


def differences(connection: Connection, files: Sequence[SqlFile]) -> list[str]:
    """Return a sentence for each object that differs from its file or has no file."""
    db_objects = objects(connection)
    twins = _Twins(connection, files, db_objects)
    known = {one for each in files for one in _of(each, db_objects)}
    return [
        *(
            f"{each.kind} {each.name} is not as {each.file}.sql says"
            for each in files
            if not (present := _of(each, db_objects)) or not _matches(present, twins.of(each))
        ),
        *(f"{one.kind} {one.identity} has no file" for one in db_objects if one not in known),
    ]


class _Twins:
    """The temporary twins of the files' objects, in the form in which Postgres prints them.

    The twins of all present objects are created at once; those of objects that use a changed object are created again.
    """

    def __init__(
        self, connection: Connection, files: Sequence[SqlFile], found: list[DbObject]
    ) -> None:
        self._connection, self.changed = connection, list[SqlFile]()
        self._known: Mapping[tuple[str, str], DbObject] = {}
        present = [each for each in files if _of(each, found)]
        # A file uses an object that is not in force yet: create one by one.
        with suppress(ProgrammingError):
            self._known = self._create(present) if present else {}

    def of(self, file: SqlFile) -> DbObject:
        """Return the twin of a file."""
        known = self._known.get((file.kind, file.name))
        if known is not None and not any(file.uses(each) for each in self.changed):
            return known
        self.changed.append(file)  # so that the objects that use this one are compared again too
        return self._create([file])[file.kind, file.name]

    def _create(self, files: Sequence[SqlFile]) -> dict[tuple[str, str], DbObject]:
        """Create temporary twins, read them, and roll back.

        Raises:
            ProgrammingError: a file uses an object that is not in force yet.
        """
        with self._connection.begin_nested() as attempt:
            _run(self._connection, ";\n".join(each.twin for each in files))
            own = self._connection.execute(
                text("select pg_my_temp_schema()::regnamespace::text")
            ).scalar_one()
            twins = {(each.kind, each.name): each for each in objects(self._connection, own)}
            attempt.rollback()
        return twins


def _of(file: SqlFile, found: list[DbObject]) -> list[DbObject]:
    return [each for each in found if (each.kind, each.name) == (file.kind, file.name)]


def _matches(present: list[DbObject], wanted: DbObject) -> bool:
    return len(present) == 1 and present[0].matches(wanted)


def _run(connection: Connection, sql: str) -> None:
    connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


def _try_replace(connection: Connection, file: SqlFile) -> bool:
    try:
        with connection.begin_nested():
            _run(connection, file.sql)
    except DBAPIError as error:
        if not isinstance(error.orig, IRREPLACEABLE):
            raise
        return False
    return True


def _drop(connection: Connection, targets: list[DbObject], *, ours: list[DbObject]) -> None:
    known = {target.identity for target in ours}
    for target in targets:
        for kind, identity in connection.execute(
            _DEPENDENTS, {"class": target.class_id, "oid": target.oid}
        ):
            if identity not in known:
                raise SetupError(
                    f"{kind} {identity} uses {target.kind} {target.identity}, which this upgrade creates again: drop it, "
                    "upgrade, and create it again"
                )
    for target in targets:
        connection.execute(text(f"drop {target.kind} if exists {target.identity} cascade"))


class CurrentDifference(MigrateOperation):
    """A difference that `alembic check` reports and that no migration operation can remove."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence

    def to_diff_tuple(self) -> tuple[str, str]:
        """Return the kind and the sentence that `alembic check` prints."""
        return "current", self.sentence

    def reverse(self) -> MigrateOperation:
        """Return the same difference, for a downgrade."""
        return self


def check_announcement(script: ScriptDirectory, files: Sequence[SqlFile]) -> list[str]:
    """Return a sentence with the fingerprint that the newest migration must state, if it states another one.

    Without a migration for each change, an older checkout would not notice the changed database and would restore its own SQL.
    """
    newest = script.get_revision("head")
    current_fingerprint = fingerprint(files)
    named = newest and getattr(newest.module, "sql_in_force", None)
    return (
        []
        if named == current_fingerprint
        else [f'the newest migration must say: sql_in_force = "{current_fingerprint}"']
    )


def _compare(
    found: AutogenContext, upgrade: UpgradeOps, _schemas: Set[str | None]
) -> PriorityDispatchResult:
    environment = found.migration_context.environment_context
    assert found.connection is not None
    assert environment is not None
    files = sql_files()
    differing = differences(found.connection, files) + check_announcement(environment.script, files)
    upgrade.ops.extend(map(CurrentDifference, differing))
    return PriorityDispatchResult.CONTINUE


@renderers.dispatch_for(CurrentDifference)
def _render(_found: AutogenContext, difference: CurrentDifference) -> str:
    return f"pass  # {difference.sentence}"


Plugin(PLUGIN).add_autogenerate_comparator(_compare, "schema")
