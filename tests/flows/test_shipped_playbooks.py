"""The shipped playbooks from the first item to the last step, with a chosen clock: what their gates measure and decide."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Connection, text

from lanes.ids import BatchId
from lanes.packing import ClaimedWork
from lanes.rollouts.rollout import (
    Advance,
    Approval,
    AskApproval,
    Finish,
    Happened,
    Hold,
    Move,
    RollBack,
    Rollout,
)
from lanes.routing.split import bucket, version_bucket
from lanes.store.database import Database
from lanes.store.rollouts import rollout_moves, rollouts, shadows
from lanes.store.workload import candidates, workloads
from lanes.words import Lane, Outcome
from tasks.migrate import Lead, RolloutOrder, leading
from tests.examples import admit, publish, route, spec
from tests.passing_time import PassingTime
from tests.store.tries import claim, home, said, save, submit, tried

pytestmark = pytest.mark.slow
BOOKS = pytest.mark.parametrize("name", ["batch-to-realtime", "realtime-to-batch", "new-version"])
# Items on each lane, or of each version, and shadows of the receiving lane: more than any gate needs. With `FEW` of them
# wrong, one step shows no loss beyond 5 %, but two steps together do.
ENOUGH, ENOUGH_OF_VERSION, PAIRS = 420, 700, 110
FEW, FEW_OF_VERSION = 40, 58
SHADOWED = """
select key from unnest(cast(:keys as text[])) key
 where (hashtextextended(key, :of) & 65535) < cast(:share as float8) * 65536
"""
YES = Approval(True, "bob", "looks well")


@dataclass
class Migration:
    """A rollout by a shipped playbook, and the run that leads it."""

    db: Database
    time: PassingTime
    lead: Lead

    @property
    def rollout(self) -> Rollout:
        return self.lead.rollout

    @property
    def enough(self) -> int:
        """Return the number of items on each side in a step."""
        return ENOUGH if self.rollout.version is None else ENOUGH_OF_VERSION

    @property
    def few(self) -> int:
        """Return the number of wrong items that only two steps together reveal."""
        return FEW if self.rollout.version is None else FEW_OF_VERSION

    async def serves(
        self,
        *,
        wrong: int = 0,
        slow: int = 0,
        all_slow: bool = False,
        times: int = 1,
    ) -> None:
        """Admit items on both sides as soon as the step begins; they are answered within the hour, `wrong` of them wrongly.

        `slow` of them, or all of both sides, are answered only after nine seconds. Those of the receiving side use `times` as
        many tokens as the others.
        """
        now = self.rollout.step_started_at
        slow = 2 * self.enough if all_slow else slow
        await self.db.run(_served, self.rollout, wrong, slow, self.enough, now, times)
        self.time.passes(hours=1)

    async def looks(self) -> Move:
        """Let the leading run look once and apply its decision."""
        now = await self.db.now()
        move = await self.lead.decide(now)
        assert await self.db.run(rollout_moves.apply, self.rollout, move, [], now=now)
        self.lead.rollout = await self.db.run(rollouts.find, self.rollout.id)
        return move

    async def hears(self, answer: Approval) -> None:
        await self.lead.hear(answer)
        self.lead.rollout = await self.db.run(rollouts.find, self.rollout.id)

    async def share(self) -> float:
        if self.rollout.version is not None:
            return await self.db.run(_share_of_candidate)
        splits = await self.db.run(workloads.splits)
        return splits.of("letters", None).basis_points / 100

    async def told(self) -> list[Happened]:
        return [each.event for each in await self.db.run(rollouts.log, self.rollout.id)]


def _share_of_candidate(connection: Connection) -> float:
    """Return the share in percent of the version that is tried; all of it once the version is in force."""
    query = "select coalesce(candidate_share, 0) / 100.0 from lanes.workload where name = 'letters'"
    return float(connection.execute(text(query)).scalar_one())


def _served(
    connection: Connection,
    of: Rollout,
    wrong: int,
    slow: int,
    enough: int,
    now: datetime,
    times: int,
) -> None:
    moved, stay = _keys(of)
    chosen = moved[:enough]
    if of.playbook.shadows is not None:
        given = {"keys": moved, "of": of.id, "share": of.playbook.shadows.share}
        shadowed = set(connection.execute(text(SHADOWED), given).scalars())
        chosen = sorted(moved, key=lambda key: key not in shadowed)[:PAIRS]
        chosen += [key for key in moved if key not in shadowed][: enough - PAIRS]
    slowly = set([*chosen, *stay[:enough]][:slow])
    admit(connection, *chosen, *stay[:enough], now=now, due_at=now + timedelta(hours=20))
    route(connection, now=now)
    shadows.owe(connection, of, now=now)
    fails = set(chosen[-wrong:] if wrong else ())
    while works := claim(connection, now=now, places=500):
        for took, is_slow in ((2, False), (9, True)):
            some = [each for each in works if (each.key in slowly) is is_slow]
            at = now + timedelta(seconds=took)
            dear = [each for each in some if each.key in set(chosen)] if times > 1 else []
            _answered(connection, dear, fails, now, at, tokens=times * 1_000)
            plain = [each for each in some if each not in dear]
            _answered(connection, plain, fails, now, at)
    if of.version is not None:
        return
    version = workloads.read_versions(connection)["letters"]
    batch_id, works = submit(connection, version, now=now)
    back = now + timedelta(minutes=30)
    _answered(connection, works, fails, now, back, batch_id)
    home(connection, batch_id, now=back)


def _keys(of: Rollout) -> tuple[list[str], list[str]]:
    """Return keys of items that go to the receiver of the traffic, and keys of items that do not."""
    receiving, mark = of.playbook.direction.receiving, uuid4().hex[:6]
    moved, stay = list[str](), list[str]()
    place = bucket if of.version is None else version_bucket
    for key in (f"{mark}-{number}" for number in range(30_000)):
        is_below = place("letters", entity=None, key=key) < of.basis_points
        (stay if is_below is (receiving is Lane.BATCH) else moved).append(key)
    return moved, stay


def _answered(
    connection: Connection,
    works: list[ClaimedWork],
    fails: set[str],
    since: datetime,
    at: datetime,
    batch_id: BatchId | None = None,
    *,
    tokens: int = 1_000,
) -> None:
    outcomes = [Outcome.INVALID if each.key in fails else Outcome.VALID for each in works]
    tries = [
        tried(each, outcome, at=at, response=said(tokens=tokens))
        for each, outcome in zip(works, outcomes, strict=True)
    ]
    save(
        connection, *(each._replace(started_at=since) for each in tries), now=at, batch_id=batch_id
    )


@asynccontextmanager
async def migration(db: Database, time: PassingTime, name: str) -> AsyncIterator[Migration]:
    """Start a rollout, as a person does."""
    before, now = 0 if name == "batch-to-realtime" else 100, await db.now()
    fields = {"split_percent": before, "max_failures": 1, "batch_expected_minutes": 1}
    await db.run(partial(publish, **fields), now=now)
    order = RolloutOrder(name, "", "letters", None, "ada", "trial")
    if name == "new-version":
        stored = await db.run(candidates.store, "letters", spec(**fields, patience_s=5), now=now)
        order = replace(order, version=stored.number)
    with disable_run_logger():
        async with leading(db, order, uuid4()) as lead:
            assert lead is not None
            yield Migration(db, time, lead)


@BOOKS
async def test_every_step_passes_with_approval_and_another_run_continues_a_killed_one(
    db: Database, passing_time: PassingTime, name: str
) -> None:
    async with AsyncExitStack() as first:
        under_way = await first.enter_async_context(migration(db, passing_time, name))
        assert isinstance(await under_way.looks(), Hold)
        await under_way.serves()
        assert isinstance(await under_way.looks(), Advance)
        begun = under_way.rollout
    steps, shares = begun.playbook.steps, [await under_way.share()]
    with disable_run_logger():
        async with leading(db, None, uuid4()) as lead:
            assert lead is not None
            assert (lead.rollout.id, lead.rollout.step) == (begun.id, 1)
            resumed = replace(under_way, lead=lead)
            while True:
                await resumed.serves()
                move = await resumed.looks()
                if isinstance(move, AskApproval):
                    assert isinstance(await resumed.looks(), Hold)
                    await resumed.hears(YES)
                    move = await resumed.looks()
                if isinstance(move, Finish):
                    break
                assert isinstance(move, Advance)
                shares.append(await resumed.share())
    assert shares == [each.percent for each in steps[1:]]
    told = await resumed.told()
    assert told.count(Happened.STEPPED) == len(steps) - 1
    assert told.count(Happened.APPROVED) == sum(each.approval for each in steps)
    assert told[-1] is Happened.FINISHED


@BOOKS
async def test_a_loss_in_a_later_step_rolls_the_share_back(
    db: Database, passing_time: PassingTime, name: str
) -> None:
    async with migration(db, passing_time, name) as under_way:
        before = under_way.rollout.share_before / 100
        await under_way.serves()
        assert isinstance(await under_way.looks(), Advance)
        assert await under_way.share() != before
        await under_way.serves(wrong=under_way.enough // 7)
        move = await under_way.looks()
        assert isinstance(move, RollBack)
        seen = f"14 % of {under_way.enough} samples"
        assert move.why.startswith(f"error_rate failed: {seen}, at most 5 %")
        assert await under_way.share() == before


async def test_a_new_version_that_only_becomes_slower_than_the_old_one_is_rolled_back(
    db: Database, passing_time: PassingTime
) -> None:
    async with migration(db, passing_time, "new-version") as under_way:
        await under_way.serves(all_slow=True)  # the provider is slow, and so are both versions
        assert isinstance(await under_way.looks(), Advance)
        await under_way.serves(slow=under_way.enough // 7)
        move = await under_way.looks()
        assert isinstance(move, RollBack)
        seen = f"14 % of {under_way.enough} samples slower than 5.00 s, 0 % of {under_way.enough} on the old version"
        assert move.why.startswith(f"p95_s failed: {seen}, at most 5.0 points worse; at least ")
        assert await under_way.share() == 0


async def test_a_new_version_that_costs_three_times_as_much_is_rolled_back(
    db: Database, passing_time: PassingTime
) -> None:
    async with migration(db, passing_time, "new-version") as under_way:
        await under_way.serves(times=3)
        move = await under_way.looks()
        assert isinstance(move, RollBack)
        assert move.why.startswith("saving failed: ")
        assert await under_way.share() == 0


@BOOKS
async def test_a_loss_too_small_for_one_step_is_found_over_the_whole_rollout(
    db: Database, passing_time: PassingTime, name: str
) -> None:
    async with migration(db, passing_time, name) as under_way:
        await under_way.serves(wrong=under_way.few)
        assert isinstance(await under_way.looks(), Hold)
        signed = {"who": "ada", "why": "in haste", "now": await db.now()}
        under_way.lead.rollout = await db.run(rollout_moves.promote, "letters", **signed)
        await under_way.serves(wrong=under_way.few)
        move = await under_way.looks()
        assert isinstance(move, RollBack)
        assert move.why.startswith("error_rate failed: over the whole rollout, ")
