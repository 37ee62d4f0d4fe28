"""What goes on beside the ticks."""

import asyncio

import pytest

from tasks.sweep.errands import Errands
from tests.flows.conftest import Log


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings of the run's log."""
    warnings: list[str] = []
    monkeypatch.setattr("tasks.troubles.get_run_logger", lambda: Log(warnings))
    return warnings


async def hang() -> None:
    await asyncio.Event().wait()


async def break_down() -> None:
    raise RuntimeError("broken")


async def test_one_of_a_name_goes_on_at_a_time_and_others_beside_it(said: list[str]) -> None:
    errands, begun = Errands(), list[str]()

    async def begin(name: str) -> None:
        begun.append(name)
        await hang()

    for name in ("a", "a", "b"):
        errands.send(name, lambda name=name: begin(name), within_s=60)
        await asyncio.sleep(0)
    assert begun == ["a", "b"]
    async with asyncio.timeout(5):
        await errands.close()


async def test_one_that_hangs_ends_within_its_limit_and_is_said(said: list[str]) -> None:
    errands = Errands()
    errands.send("slow", hang, within_s=0.01)
    async with asyncio.timeout(5):
        await errands.done()
    assert said == ["slow: met again at the next sweep (TimeoutError)"]


async def test_what_breaks_again_and_again_is_said_once_until_it_is_over(said: list[str]) -> None:
    errands = Errands()
    for act in (break_down, break_down, lambda: asyncio.sleep(0), break_down):
        await errands.alone("it", act, within_s=60)
    assert said == ["it: met again at the next sweep (RuntimeError: broken)"] * 2
