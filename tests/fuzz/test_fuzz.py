"""Each area of `make fuzz`, for a few seconds."""

import pytest

from tests.fuzz import areas
from tests.fuzz.areas import AREAS

SEED = 1


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"FRAGMENTS": 10, "INPUTS": 60, "BATCHED": 24, "CALLED": 12}.items():
        monkeypatch.setattr(areas, name, size)


@pytest.mark.parametrize("area", ["doors", "batch", "calls"])
async def test_hostile_cases_at_the_doors_and_from_the_provider_harm_nothing(
    area: str, database_url: str
) -> None:
    async with AREAS[area](database_url) as one_round:
        cases, faults = await one_round(SEED)
    assert (cases > 0, list(map(str, faults))) == (True, [])


@pytest.mark.parametrize("area", ["pages", "prompts", "rules"])
async def test_hostile_cases_in_pages_prompts_and_rules_harm_nothing(area: str) -> None:
    async with AREAS[area]("") as one_round:
        cases, faults = await one_round(SEED)
    assert (cases > 0, list(map(str, faults))) == (True, [])
