"""What the client's tests start from."""

import pytest
from sqlalchemy import Engine

from tests.conftest import NOON
from tests.examples import publish
from tests.store.client.ends import Looks


@pytest.fixture(autouse=True)
def address(monkeypatch: pytest.MonkeyPatch, database_url: str, pool: Engine) -> None:
    """The environment names the database, which has the workload `letters`."""
    monkeypatch.setenv("LANES_DATABASE_URL", database_url)
    with pool.begin() as connection:
        publish(connection, now=NOON)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """The looks for those who wait."""
    return Looks(monkeypatch)
