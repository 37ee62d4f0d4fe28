"""Fixtures of the client's tests."""

import pytest
from sqlalchemy import Engine

from tests.conftest import NOON
from tests.examples import publish
from tests.store.client.ends import Looks


@pytest.fixture
def database_url(own_database_url: str) -> str:
    """Return the address of a database of the test's own: the client's thread, which listens, outlasts the test."""
    return own_database_url


@pytest.fixture(autouse=True)
def address(address: str, pool: Engine) -> str:
    """Publish the workload `letters`; the environment contains the address of the database."""
    with pool.begin() as connection:
        publish(connection, now=NOON)
    return address


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """Record the looks for waiting readers."""
    return Looks(monkeypatch)
