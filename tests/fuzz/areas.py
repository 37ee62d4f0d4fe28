"""The areas of `make fuzz`: each runs rounds of cases, made from seeds, for a given time."""

import asyncio
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import create_engine

from lanes.store.database import Database
from lanes.words import Lane
from tests.conftest import NOON
from tests.fuzz.doors import Doors
from tests.fuzz.logs import tracebacks
from tests.fuzz.pages import HostilePages
from tests.fuzz.prompts import Prompts
from tests.fuzz.provider import lanes
from tests.fuzz.rules import Rules
from tests.fuzz.senders import RandomMix, made
from tests.fuzz.spoiling import HostileAnswers
from tests.fuzz.verdicts import FuzzFault

T = TypeVar("T")
PROGRESS_S = 15.0
ROUNDS = 60  # seeds that share the same fragments
MOST_KEPT = 50  # faults of an area that are written to files
# Runs the round of a seed, and returns the number of its cases and their faults.
Round = Callable[[int], Awaitable[tuple[int, list[FuzzFault]]]]


@dataclass(frozen=True)
class RoundSizes:
    """The number of cases in a round, and of the fragments of each kind that Hypothesis draws for them."""

    fragments: int = 150
    inputs: int = 500
    batched: int = 400
    called: int = 200


@dataclass
class AreaResult:
    """The duration, the cases and the faults of an area."""

    area: str
    seconds: float = 0.0
    cases: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        per_s = self.cases / max(self.seconds, 0.001)
        found = ", ".join(f"{self.faults[kind]} {said}" for kind, said in SAID.items())
        return f"{self.area:<8} {self.cases:>8,} cases {per_s:>7,.0f} a second in {self.seconds:>4.0f} s: {found}"


SAID = {
    "crash": "crashes",
    "harmed": "neighbours harmed",
    "unbooked": "unbooked bills",
    "disagrees": "disagreements of doors",
}


def run_each(
    jobs: Sequence[tuple[str, str, float]], seed: int, into: str, most_rounds: int | None = None
) -> list[AreaResult]:
    """Run areas one after the other, each on its own database, for its number of seconds and at least one round.

    A job is the name of an area, the URL of its database and its seconds. Each fault is written to a file in the folder `into`.
    """
    told: list[AreaResult] = []
    for name, url, seconds in jobs:
        told.append(asyncio.run(_run(name, url, seconds, seed, Path(into), most_rounds)))
        print(told[-1], flush=True)
    return told


async def _run(
    name: str, url: str, seconds: float, seed: int, into: Path, most_rounds: int | None
) -> AreaResult:
    told, rounds = AreaResult(name), 0
    async with AREAS[name](url, RoundSizes()) as one_round:
        began = said = time.monotonic()
        while (rounds == 0 or time.monotonic() - began < seconds) and (
            most_rounds is None or rounds < most_rounds
        ):
            of = seed + rounds
            cases, faults = await one_round(of)
            rounds += 1
            told.cases += cases
            for fault in faults:
                told.faults[fault.kind] += 1
                if told.faults.total() <= MOST_KEPT:
                    _keep(fault, of, into)
            told.seconds = time.monotonic() - began
            if time.monotonic() - said >= PROGRESS_S:
                said = time.monotonic()
                print(told, flush=True)
    return told


def _keep(fault: FuzzFault, seed: int, into: Path) -> None:
    """Write a fault to a file, with the command that repeats its round."""
    into.mkdir(parents=True, exist_ok=True)
    file = into / f"{fault.area}-{seed}-{os.getpid()}-{time.monotonic_ns()}.json"
    again = f'make fuzz ARGS="--area {fault.area} --seed {seed} --rounds 1"'
    kept = {"kind": fault.kind, "why": fault.why, "case": fault.case, "repeat": again}
    file.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    print(
        f"{fault}\n  file: {file}\n  repeat: {again}".encode(errors="backslashreplace").decode(),
        flush=True,
    )


class Draws(Generic[T]):
    """The maker of a round's cases, which the seed alone determines. Fragments are drawn once for `ROUNDS` seeds."""

    def __init__(self, maker: Callable[..., T], sizes: RoundSizes) -> None:
        self._maker, self._chance, self._fragments = maker, random.Random(), sizes.fragments
        self._block, self._made = -1, None

    def of(self, seed: int) -> T:
        block = seed // ROUNDS
        if self._made is None or block != self._block:
            self._block = block
            self._made = self._maker(block, self._chance, fragments=self._fragments)
        self._chance.seed(seed)
        return self._made


@asynccontextmanager
async def _doors(url: str, sizes: RoundSizes) -> AsyncIterator[Round]:
    pool, draws = create_engine(url), Draws(RandomMix, sizes)
    with tempfile.TemporaryDirectory(prefix="lanes-fuzz-") as folder, tracebacks() as logged:
        async with Database(url) as db:
            doors = Doors(pool, db, Path(folder))
            doors.open(now=NOON)

            async def one_round(seed: int) -> tuple[int, list[FuzzFault]]:
                by = draws.of(seed)
                said = [made(by) for _ in range(sizes.inputs)]
                before, faults = doors.cases, await doors.faults(said)
                faults += [FuzzFault("crash", "doors", why, json.dumps(said)) for why in logged]
                logged.clear()
                return doors.cases - before, faults

            yield one_round
    pool.dispose()


@asynccontextmanager
async def _provider(url: str, sizes: RoundSizes, lane: Lane) -> AsyncIterator[Round]:
    draws = Draws(HostileAnswers, sizes)
    number = sizes.batched if lane is Lane.BATCH else sizes.called
    with tempfile.TemporaryDirectory(prefix="lanes-fuzz-") as folder:
        async with lanes(url, Path(folder)) as opened:

            async def one_round(seed: int) -> tuple[int, list[FuzzFault]]:
                ask = opened.batch if lane is Lane.BATCH else opened.calls
                return number, await ask(draws.of(seed), number)

            yield one_round


@asynccontextmanager
async def _in_memory(
    _: str, sizes: RoundSizes, maker: Callable[..., Prompts | HostilePages | Rules]
) -> AsyncIterator[Round]:
    draws: Draws[Any] = Draws(maker, sizes)

    async def one_round(seed: int) -> tuple[int, list[FuzzFault]]:
        area = draws.of(seed)
        cases = area.cases(sizes.inputs)
        return len(cases), [fault for each in cases for fault in area.faults(each)]

    yield one_round


AREAS: Mapping[str, Callable[[str, RoundSizes], AbstractAsyncContextManager[Round]]] = {
    "doors": _doors,
    "batch": partial(_provider, lane=Lane.BATCH),
    "calls": partial(_provider, lane=Lane.REALTIME),
    "pages": partial(_in_memory, maker=HostilePages),
    "prompts": partial(_in_memory, maker=Prompts),
    "rules": partial(_in_memory, maker=Rules),
}
