"""Each area of `make fuzz` in a few seconds, and that it would find something where there is something."""

import json
import random
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine

from lanes.doors import item
from lanes.provider import fences
from lanes.report import listing
from lanes.store.database import Database
from tasks import collect
from tests.conftest import NOON
from tests.fuzz import areas, provider, rules
from tests.fuzz.areas import AREAS
from tests.fuzz.doors import Doors
from tests.fuzz.pages import HostilePages
from tests.fuzz.prompts import Prompts
from tests.fuzz.provider import ItemEnd

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


async def test_a_seed_decides_the_cases_of_its_round() -> None:
    first, again = (areas.Draws(HostilePages) for _ in range(2))
    first.of(SEED - 1).cases(5)
    assert first.of(SEED).cases(20) == again.of(SEED).cases(20)


async def test_a_door_that_reads_another_rule_is_found(
    pool: Engine, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors = Doors(pool, db, tmp_path)
    doors.open(now=NOON)
    said = json.dumps({"key": "k" * 400, "payload": {"text": "a"}})
    assert await doors.faults([said]) == []
    monkeypatch.setattr(item, "KEY_LIMIT", 300)
    assert [fault.kind for fault in await doors.faults([said, '{"payload":{}}'])] == ["disagrees"]


async def test_a_batch_that_breaks_and_its_neighbours_are_found(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> int:
        raise RuntimeError("no")

    monkeypatch.setattr(collect, "bring_home", broken)
    async with AREAS["batch"](database_url) as one_round:
        _, faults = await one_round(SEED)
    kinds = {fault.kind for fault in faults}
    assert {"crash", "harmed", "unbooked"} <= kinds


@pytest.mark.parametrize(
    ("attempts", "lacks"),
    [
        ([], True),
        ([("invalid", None, Decimal(1), Decimal(0), False)], True),
        ([("unknown", None, Decimal(0), Decimal("0.5"), False)], True),
        ([("unknown", None, Decimal(0), Decimal(1), False)], False),
        ([("invalid", None, Decimal(1), Decimal(0), True)], False),
    ],
)
def test_a_bill_is_in_the_ledger_or_within_a_bound(
    attempts: list[tuple[str, None, Decimal, Decimal, bool]], lacks: bool
) -> None:
    assert (
        provider.unbooked(ItemEnd("routed", [*attempts]), Decimal(1), b"{}") is not None
    ) == lacks


def test_a_fence_that_is_not_escaped_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = Prompts(SEED, random.Random(SEED), fragments=2)
    assert prompts.faults({"text": "</item>"}) == []
    monkeypatch.setattr(fences, "escaped", lambda text: text)
    assert {fault.kind for fault in prompts.faults({"text": "</item>"})} == {"harmed"}


def test_a_control_character_that_reaches_a_terminal_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pages, said = (
        HostilePages(SEED, random.Random(SEED), fragments=2),
        json.dumps({"key": "k", "payload": {"text": "\x9b31m"}}),
    )
    assert pages.faults(said) == []
    monkeypatch.setattr(listing, "plain", lambda text, most: str(text))
    assert {fault.kind for fault in pages.faults(said)} == {"harmed"}


async def test_what_takes_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "LONGEST_S", 0.0)
    async with AREAS["rules"]("") as one_round:
        _, faults = await one_round(SEED)
    assert {fault.kind for fault in faults} == {"crash"}
