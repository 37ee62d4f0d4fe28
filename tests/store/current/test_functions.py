"""No function of schema `lanes` can be made to call a planted function, and none with its owner's rights is public."""

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from tests.conftest import NOON
from tests.examples import admit, publish
from tests.store.test_schema import recreate

SAFE = "search_path=pg_catalog, pg_temp"
FUNCTIONS = text("""
    select proname as name, coalesce(proconfig, '{}') as settings, prosqlbody is not null as is_parsed, prosecdef as of_owner,
           has_function_privilege('public', p.oid, 'execute') as is_public
      from pg_proc p where pronamespace = 'lanes'::regnamespace order by 1
""")
# `begin atomic`: names were resolved when the function was created, under the path of the migration. A SET clause would keep
# the planner from inlining these into the calling query, which calls them per row or reads a figure by its index.
INLINED = {
    "conflict",
    "field_names",
    "figure_bucket",
    "figure_hist_since",
    "figure_seconds",
    "figure_stands",
    "figure_weight",
    "figures_since",
    "in_a_zone",
    "is_own",
    "is_a_moment",
    "job_refusal",
    "may_be_known",
    "refusal",
    "review_chance",
    "screened",
    "sender_refusal",
    "too_many_amendments",
    "trace_context",
    "unreadable",
    "wilson",
}
# Overloads that fit the calls of our functions better than the built-in ones, which take arguments of any type.
PLANTED = [
    *(
        f"jsonb_build_object({', '.join(['text'] * count)}) returns jsonb"
        for count in (4, 6, 8, 10, 12)
    ),
    *(f"format({', '.join(['text'] * count)}) returns text" for count in (2, 3, 4)),
    "concat(text, text) returns text",
    "lower_inc(int) returns boolean",
]


def test_names_in_a_function_are_looked_up_in_pg_catalog_alone(connection: Connection) -> None:
    found = connection.execute(FUNCTIONS).all()
    assert {each.name for each in found if SAFE not in each.settings} == INLINED
    assert all(each.is_parsed for each in found if each.name in INLINED)


def test_no_security_definer_function_is_public_or_without_a_search_path(
    connection: Connection,
) -> None:
    ours = [each for each in connection.execute(FUNCTIONS) if each.of_owner]
    assert {"count_items", "count_responses", "submit", "cancel", "read_result"} <= {
        each.name for each in ours
    }
    assert [each.name for each in ours if each.is_public or SAFE not in each.settings] == []


@pytest.fixture
def trap(connection: Connection) -> str:
    """Let a role that may create in schema `public` plant functions there that record for whom they are called."""
    publish(connection, now=NOON)
    connection.execute(text("create role mallory"))
    connection.execute(text("create table public.caught (who text)"))
    connection.execute(text("grant insert on public.caught to public"))
    connection.execute(text("grant create, usage on schema public to mallory"))
    connection.execute(text("set local role mallory"))
    for each in PLANTED:
        is_text, is_json = each.endswith("text"), each.endswith("jsonb")
        value = "''" if is_text else "'{}'" if is_json else "false"
        connection.execute(
            text(
                f"create function public.{each} language plpgsql as "
                f"'begin insert into public.caught values (current_user); return {value.replace(chr(39), chr(39) * 2)}; end'"
            )
        )
    connection.execute(text("reset role"))
    connection.execute(text("select public.format('a', 'b')"))
    assert connection.execute(
        text("delete from public.caught returning who")
    ).all()  # the trap works
    return "mallory"


@pytest.mark.parametrize("path", ["public", "public, pg_catalog", '"$user", public'])
@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.usefixtures("trap")
def test_a_planted_overload_is_not_called_by_a_door(
    connection: Connection, path: str, plans: str
) -> None:
    connection.execute(text(f"set local search_path = {path}"))
    connection.execute(text(f"set local plan_cache_mode = {plans}"))
    admit(connection, "there", now=NOON)
    conflicts = {
        """select lanes.submit('letters', '{"text": "other"}', 'there')""": "key_conflict",
        """select outcome from lanes.submit_many('letters', '[{"payload": {}, "key": "there"}]')""": "key_conflict",
        """select lanes.amend('letters', 'there', '[]')""": "malformed",
        """select lanes.amend('letters', 'there', '{"text": "more"}')""": "amended",
        """select lanes.label('letters', 'there', '{"category": "a"}')""": "labeled",
        """select lanes.submit('letters', '{}', 'k', lane => 'express')""": "malformed",
        "select lanes.cancel('letters', 'there')": "canceled",
    }
    for call, outcome in conflicts.items():
        assert connection.exec_driver_sql(call).scalar_one() == outcome
    assert connection.execute(text("select count(*) from public.caught")).scalar_one() == 0


@pytest.mark.slow
@pytest.mark.usefixtures("trap")
def test_an_upgrade_binds_and_calls_no_planted_function(connection: Connection) -> None:
    """Check the names that a migration parses (`begin atomic`, views, defaults): they are bound then, for good."""
    recreate(connection)
    bound = text(
        "select refobjid::regprocedure::text from pg_depend d join pg_proc p on p.oid = d.refobjid"
        " where p.pronamespace = 'public'::regnamespace"
    )
    assert connection.execute(bound).all() == []
    assert connection.execute(text("select count(*) from public.caught")).scalar_one() == 0


@pytest.mark.parametrize("booked", ["count_responses", "count_batches", "count_items"])
def test_a_reading_role_cannot_book_figures_through_its_own_trigger(
    connection: Connection, booked: str
) -> None:
    connection.execute(text("create role eve"))
    connection.execute(text("grant usage on schema lanes to eve"))
    connection.execute(text("grant select on all tables in schema lanes to eve"))
    connection.execute(text("set local role eve"))
    connection.execute(
        text("create temporary table mine as select * from lanes.response with no data")
    )
    with pytest.raises(ProgrammingError, match=f"permission denied for function lanes.{booked}"):
        connection.execute(
            text(
                "create trigger book after insert on mine referencing new table as added for each statement"
                f" execute function lanes.{booked}()"
            )
        )
