"""Taken roles: a foreign session that holds a role of Lanes is an incident, which explains the delays of the role's work."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, NullPool, create_engine, make_url, text

from lanes.promises.assessment import BATCH, REALTIME, Assessment
from lanes.promises.breaches import (
    LOSSES,
    MOST_NAMED,
    ForeignHolder,
    lanes_of,
    role_subject,
    role_taken,
)
from lanes.promises.incident import IncidentState, Promise
from lanes.stand.info import SUPERUSER
from lanes.stand.postgres import Running
from lanes.standing.roles import Role
from lanes.store import incidents, schema
from lanes.store.promises import briefings, recording
from lanes.store.signals import CLASS
from lanes.words import Lane, Verdict
from tests.conftest import NOON, later
from tests.databases import Databases
from tests.examples import publish
from tests.store.promises.test_briefings import waiting
from tests.store.promises.test_endings import told
from tests.store.tries import rows
from tests.waiting import until

MANY = 200  # executions on one connection: from the sixth on the server plans without values
TAKE = "select pg_advisory_lock({}, {})"
SLOW = Assessment(
    Promise.REALTIME_SLOW, "letters", Verdict.FAILED, 9, 5, 40, "It is slow.", standstill=REALTIME
)
LATE = Assessment(
    Promise.BATCH_SLOW, "letters", Verdict.FAILED, 300, 120, 1, "Late.", "batch 1", standstill=BATCH
)
NEVER = replace(LATE, promise=Promise.BATCH_NEVER_STARTED, subject="")


@pytest.fixture(scope="module")
def stranger(postgres: Running) -> Iterator[str]:
    """Yield a login that may connect but is a member of no role of Lanes."""
    name, secret = "stranger", "of-a-test"
    with psycopg.connect(
        postgres.url("postgres", None, role=SUPERUSER), autocommit=True
    ) as superuser:
        superuser.execute("set scram_iterations = 1")
        superuser.execute(f"create role {name} login password '{secret}'".encode())
        yield f"{name}:{secret}"
        superuser.execute(f"drop role {name}".encode())


def address(url: str, login: str, driver: str) -> str:
    """Return the URL of the same database for that login."""
    user, _, password = login.partition(":")
    return (
        make_url(url)
        .set(drivername=driver, username=user, password=password)
        .render_as_string(hide_password=False)
    )


@contextmanager
def foreign(
    url: str, login: str, *roles: Role, application: str = "report"
) -> Iterator[psycopg.Connection]:
    """Yield a session of that login that holds these roles."""
    with psycopg.connect(
        address(url, login, "postgresql"), application_name=application, autocommit=True
    ) as session:
        for role in roles:
            session.execute(TAKE.format(CLASS, int(role)).encode())
        yield session


def ended(pool: Engine, now: datetime = NOON) -> list[Any]:
    """Look until the incident has ended: the server frees a role a moment after its session has ended."""
    until(
        lambda: all(each.state == "resolved" for each in look(pool, now)),
        what="the end of the incident",
    )
    return look(pool, now)


def look(pool: Engine, now: datetime = NOON) -> list[Any]:
    """Record as a drain's guard does; return the incidents of the promise."""
    with pool.begin() as connection:
        recording.record_taken_roles(connection, now=now)
        return sorted(
            rows(connection, "incident_log", promise="role_taken"),
            key=lambda each: each.incident_id,
        )


@pytest.mark.parametrize("role", Role)
def test_a_role_that_another_user_holds_is_an_incident_until_that_session_ends(
    pool: Engine, database_url: str, stranger: str, role: Role
) -> None:
    with foreign(database_url, stranger, role) as session:
        (of,) = look(pool)
        assert (of.state, of.severity, of.workload, of.subject) == (
            "open",
            "critical",
            "*",
            f"role {role.name.lower()}",
        )
        pid = session.info.backend_pid
        for part in (
            f'Role {role.name.lower()} is held by session {pid} of user stranger (application "report", address ',
            f"meanwhile {LOSSES[role][0]}",
            f"`select pg_terminate_backend({pid})`",
            "`lanes roles`",
        ):
            assert part in of.sentence
        assert [each.incident_id for each in look(pool, later(seconds=5))] == [of.incident_id]
    (of,) = ended(pool, later(minutes=1))
    assert of.resolved_at == later(minutes=1)
    assert (
        of.sentence
        == f"No session of another user holds role {role.name.lower()}: Lanes takes it again automatically."
    )


def test_the_statement_in_the_incidents_sentence_ends_the_session_and_the_incident(
    pool: Engine, databases: Databases, database_url: str, stranger: str
) -> None:
    administrator = create_engine(databases.as_superuser(database_url), poolclass=NullPool)
    with (
        foreign(database_url, stranger, Role.SUBMITTER) as session,
        administrator.connect() as admin,
    ):
        (of,) = look(pool)
        assert admin.execute(text(of.sentence.split("`")[1])).scalar_one()
        ended(pool)
        with pytest.raises(psycopg.OperationalError):
            session.execute("select 1")


def test_exactly_the_roles_that_are_taken_have_an_open_incident(
    pool: Engine, database_url: str, stranger: str
) -> None:
    with foreign(database_url, stranger) as session:
        for number, wanted in enumerate(
            ([Role.ROUTER], [Role.ROUTER, Role.WATCHER], [Role.WATCHER], [], [Role.WATCHER])
        ):
            session.execute("select pg_advisory_unlock_all()")
            for role in wanted:
                session.execute(TAKE.format(CLASS, int(role)).encode())
            still = {
                each.subject
                for each in look(pool, later(seconds=5 * number))
                if each.state == "open"
            }
            assert still == {f"role {role.name.lower()}" for role in wanted}
        subjects = [each.subject for each in look(pool, later(minutes=1))]
    # A second incident for the role that was taken again.
    assert subjects == [
        "role router",
        "role watcher",
        "role watcher",
    ]


def test_sessions_of_lanes_open_no_incident_and_a_worker_records_foreign_sessions(
    pool: Engine, databases: Databases, database_url: str, stranger: str
) -> None:
    """Report a foreign session also while sessions of Lanes hold roles."""
    schema.set_up_roles(databases.as_superuser(database_url), shared=True)
    with (
        create_engine(databases.as_superuser(database_url), poolclass=NullPool).connect() as admin,
        pool.connect() as ours,
    ):
        admin.execute(text("create role a_worker login password 'of-a-test' in role lanes_worker"))
        admin.commit()
        try:
            ours.execute(text(TAKE.format(CLASS, int(Role.COLLECTOR))))
            engine = create_engine(
                address(database_url, "a_worker:of-a-test", "postgresql+psycopg"),
                poolclass=NullPool,
            )
            with (
                foreign(database_url, "a_worker:of-a-test", Role.KEEPER),
                foreign(database_url, stranger, Role.WATCHER),
            ):
                assert [each.subject for each in look(engine)] == ["role watcher"]
                assert [each.subject for each in look(pool)] == ["role watcher"]
            ended(engine)
        finally:
            admin.execute(text("drop role a_worker"))
            admin.commit()


@pytest.mark.slow
def test_many_looks_on_one_connection_record_one_incident(
    pool: Engine, database_url: str, stranger: str
) -> None:
    with foreign(database_url, stranger, Role.ROUTER), pool.begin() as connection:
        for number in range(MANY):
            recording.record_taken_roles(connection, now=later(seconds=number))
        (of,) = rows(connection, "incident_log", promise="role_taken")
    assert of.state == "open"


def test_sessions_that_share_a_role_cause_one_incident_that_names_each_of_them(
    pool: Engine, database_url: str, stranger: str
) -> None:
    with (
        foreign(database_url, stranger) as one,
        foreign(database_url, stranger, application="other") as other,
    ):
        for each in (one, other):
            each.execute(f"select pg_advisory_lock_shared({CLASS}, {int(Role.DRAIN)})".encode())
        (of,) = look(pool)
        assert of.value == 2
        for each in (one, other):
            assert f"`select pg_terminate_backend({each.info.backend_pid})`" in of.sentence
        assert 'application "other"' in of.sentence


def test_a_sentence_names_some_of_many_sessions_and_shows_no_control_character() -> None:
    many = [
        ForeignHolder(Role.DRAIN, pid, "a\x1b[31m\nb", "x\x07", None)
        for pid in range(MOST_NAMED + 2)
    ]
    said = role_taken(Role.DRAIN, many)
    assert said.sentence.isprintable()
    assert f"session {MOST_NAMED - 1} of user a [31m b" in said.sentence
    assert "and 2 more, which do not belong to Lanes" in said.sentence
    assert f"session {MOST_NAMED} " not in said.sentence
    assert (said.value, said.why is not None and said.why in said.sentence) == (
        MOST_NAMED + 2,
        True,
    )


def test_every_role_has_its_losses_and_a_stake_that_counts_the_work_of_its_lanes(
    connection: Connection,
) -> None:
    assert set(LOSSES) == set(Role)
    assert lanes_of("role watcher") == lanes_of("role of an older version") == frozenset()
    publish(connection, now=later(days=-1))
    waiting(connection, Lane.REALTIME)
    waiting(connection, Lane.BATCH)
    stakes = dict[Role, int]()
    for role in Role:
        incidents.open(
            connection, role_taken(role, [ForeignHolder(role, 1, "u", "a", None)]), now=NOON
        )
        known = incidents.list_newest(connection, states=[IncidentState.OPEN])
        of = next(each for each in known if each.subject == role_subject(role))
        stake = briefings.brief(connection, of, now=NOON).stake
        assert stake is not None
        stakes[role] = stake.unanswered
    assert stakes == {
        Role.ROUTER: 6,
        Role.KEEPER: 3,
        Role.COLLECTOR: 3,
        Role.WATCHER: 0,
        Role.SUBMITTER: 3,
        Role.STANDBY: 0,
        Role.DRAIN: 3,
    }


@pytest.mark.parametrize(
    ("role", "explained"),
    [
        (Role.ROUTER, {"realtime_slow", "batch_slow", "batch_never_started"}),
        (Role.SUBMITTER, {"batch_never_started"}),
        (Role.COLLECTOR, {"batch_slow"}),
        (Role.DRAIN, {"realtime_slow"}),
        (Role.WATCHER, set[str]()),
    ],
)
def test_a_taken_role_explains_the_delays_of_its_own_work(
    connection: Connection, role: Role, explained: set[str]
) -> None:
    for name in ("letters", "bills"):
        publish(connection, name, now=NOON)
    holder = ForeignHolder(role, 4711, "grafana", "psql", None)
    cause = incidents.open(connection, role_taken(role, [holder]), now=NOON)
    breaches = [
        replace(each, workload=name)
        for each in (SLOW, LATE, NEVER)
        for name in ("letters", "bills")
    ]
    incidents.record(connection, breaches, now=later(minutes=1))
    found = rows(connection, "incident_log", state="open")
    assert {each.promise for each in found if each.parent_id == cause} == explained
    assert (
        set(told(connection))
        == {"role_taken", "realtime_slow", "batch_slow", "batch_never_started"} - explained
    )
    assert len(found) == 7
