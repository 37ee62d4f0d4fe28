"""Each area of `make fuzz`, for a few seconds."""

import pytest

from tests.fuzz.areas import AREAS, RoundSizes

SEED = 1
SMALL = RoundSizes(fragments=10, inputs=60, batched=24, called=12)


@pytest.mark.long_cases
@pytest.mark.parametrize("area", AREAS)
async def test_hostile_cases_harm_nothing(area: str, database_url: str) -> None:
    async with AREAS[area](database_url, SMALL) as one_round:
        cases, faults = await one_round(SEED)
    assert (cases > 0, list(map(str, faults))) == (True, [])
