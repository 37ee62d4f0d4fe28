"""A database with the roles, and logins of each; tests that need no login of their own use other fixtures."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Connection, create_engine, make_url

from lanes.stand.info import SUPERUSER
from lanes.stand.postgres import Running
from lanes.store import schema
from lanes.store.current.roles import DatabaseRole
from lanes.words import Lane
from tests.conftest import NOON
from tests.databases import Databases
from tests.examples import admit, publish, route
from tests.store.tries import claim, claimed_item, save, submit, tried

PASSWORD = "of-a-test"
LOGINS = {
    "app_intake": DatabaseRole.INTAKE,
    "app_reader": DatabaseRole.READER,
    "app_tenant": DatabaseRole.TENANT,
    "app_rival": DatabaseRole.TENANT,
    "app_desk": DatabaseRole.INTAKE,  # sends and reads for one consumer
    "app_shop": DatabaseRole.INTAKE,
    "app_worker": DatabaseRole.WORKER,
    "app_owner": DatabaseRole.OWNER,
    "app_stranger": None,
}
OWN_OF = {"app_tenant": "desk", "app_rival": "shop", "app_desk": "desk", "app_shop": "shop"}


@pytest.fixture(scope="module")
def server(databases: Databases, postgres: Running) -> Iterator[dict[str, str]]:
    """Yield the addresses, by login, of a database with the roles, an answered item, and items that wait."""
    url = databases.make()
    name = make_url(url).database or ""
    admin = postgres.url(name, role=SUPERUSER)
    with psycopg.connect(postgres.url("postgres", None), autocommit=True) as superuser:
        superuser.execute("set scram_iterations = 1")
        schema.set_up_roles(admin, shared=False)
        for login, role in LOGINS.items():
            superuser.execute(f"create role {login} login password '{PASSWORD}'".encode())
            if role is not None:
                superuser.execute(f"grant {role} to {login}".encode())
        superuser.execute(f"grant {DatabaseRole.TENANT} to app_desk, app_shop".encode())
        engine = create_engine(url)
        with engine.begin() as connection:
            publish(connection, now=NOON)
            admit(connection, "answered", "waits", "withdrawn", now=NOON, lane=Lane.REALTIME)
            route(connection, now=NOON)
            save(connection, *(tried(each) for each in claim(connection) if each.key == "answered"))
            for consumer in ("desk", "shop"):
                answered_for(connection, consumer)
        engine.dispose()
        schema.set_up_roles(admin, shared=False, tenants=[*OWN_OF.items()])
        address = make_url(url).set(password=PASSWORD)
        yield {
            "admin": admin,
            "before": url,
            **{
                each: address.set(username=each).render_as_string(hide_password=False)
                for each in LOGINS
            },
        }
        databases.drop(url)
        for login in LOGINS:
            superuser.execute(f"drop role {login}".encode())


def answered_for(connection: Connection, consumer: str) -> None:
    """Answer an item of a consumer and correct the answer; each text of the item contains the consumer's name."""
    twofold = publish(connection, "twofold", now=NOON, mode="lambda")
    about = {"consumer": consumer, "entity": consumer, "payload": {"text": consumer}}
    work = claimed_item(connection, f"{consumer} item", workload="twofold", **about)
    save(connection, tried(work, output={"category": consumer}))
    batch_id, (owed,) = submit(connection, twofold)
    save(connection, tried(owed, output={"category": f"{consumer}, corrected"}), batch_id=batch_id)


@pytest.fixture
def opened(server: dict[str, str]) -> Iterator[dict[str, Connection]]:
    """Yield a connection of each login, and commit nothing."""
    engines = {
        each: create_engine(server[each])
        for each in ("admin", "before", *LOGINS)
        if each != "app_stranger"
    }
    connections = {each: engine.connect() for each, engine in engines.items()}
    yield connections
    for each, engine in engines.items():
        connections[each].close()
        engine.dispose()
