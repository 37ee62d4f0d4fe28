"""What the client's tests start from."""

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
    """The environment names the database, which has the workload `letters`."""
    with pool.begin() as connection:
        publish(connection, now=NOON)
    return address


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """The looks for those who wait."""
    return Looks(monkeypatch)
