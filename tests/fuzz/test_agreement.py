"""SQL, event and file doors agree on every input: the same stored item, or the same reason."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from lanes.store.database import Database
from tests.conftest import NOON
from tests.fuzz.doors import Doors
from tests.fuzz.drawing import UNHURRIED
from tests.fuzz.senders import inputs


@pytest.fixture
def doors(pool: Engine, db: Database, tmp_path: Path) -> Doors:
    opened = Doors(pool, db, tmp_path)
    opened.open(now=NOON)
    return opened


@settings(max_examples=15, deadline=None, suppress_health_check=UNHURRIED)
@given(st.lists(inputs(), min_size=1, max_size=20))
async def test_the_doors_accept_with_the_same_item_or_refuse_with_the_same_words_and_harm_no_neighbour(
    doors: Doors, said: list[str]
) -> None:
    faults = await doors.faults(said)
    assert not faults, "\n".join(map(str, faults))
