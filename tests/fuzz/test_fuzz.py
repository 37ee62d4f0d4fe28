"""One round of each area of `make fuzz`, and the agreement of the SQL, event and file doors on every input."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from lanes.store.database import Database
from tests.conftest import NOON
from tests.fuzz.areas import AREAS, RoundSizes
from tests.fuzz.doors import Doors
from tests.fuzz.senders import inputs

SEED = 1
SMALL = RoundSizes(fragments=10, inputs=60, batched=24, called=12)


@pytest.mark.long_cases
@pytest.mark.parametrize("area", AREAS)
async def test_a_round_of_hostile_cases_finds_no_fault(area: str, database_url: str) -> None:
    async with AREAS[area](database_url, SMALL) as one_round:
        cases, faults = await one_round(SEED)
    assert (cases > 0, list(map(str, faults))) == (True, [])


@pytest.fixture
def doors(pool: Engine, db: Database, tmp_path: Path) -> Doors:
    opened = Doors(pool, db, tmp_path)
    opened.open(now=NOON)
    return opened


@pytest.mark.slow
@given(st.lists(inputs(), min_size=1, max_size=20))
async def test_all_doors_store_the_same_item_or_refuse_alike_and_harm_no_neighbour(
    doors: Doors, said: list[str]
) -> None:
    faults = await doors.faults(said)
    assert not faults, "\n".join(map(str, faults))


@pytest.mark.parametrize("given", [f'"urgent":{"1" * 5_000}', f'"key":{"[" * 2_000}{"]" * 2_000}'])
async def test_inputs_with_one_key_cause_no_fault_when_only_sql_can_read_one_of_them(
    doors: Doors, given: str
) -> None:
    only_sql = f'{{{given},"key":"same","urgent":null,"payload":{{"text":"a"}}}}'
    faults = await doors.faults([only_sql, '{"key":"same","payload":{"text":"b"}}'])
    assert not faults, "\n".join(map(str, faults))
