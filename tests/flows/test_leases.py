"""Leases alone show that a drain is alive: a thread renews them, and claims that were not renewed are not asked."""

import asyncio
import time

import pytest
from sqlalchemy import Engine, text

from anthropic_standin.testing import Endpoint
from lanes.realtime.pace import LEASE, RENEWED_WITHIN_S
from lanes.store import work
from lanes.words import Lane
from tasks.account_drain import DrainPace
from tasks.connections import Connections
from tasks.drain import drain
from tests.flows.conftest import Sender
from tests.flows.test_drain import PROMPTLY_S, turns, until_answered, work_is
from tests.prefect_standin import PrefectStandIn

END_OTHERS = """select pg_terminate_backend(pid) from pg_stat_activity
 where datname = current_database() and pid <> pg_backend_pid()"""


@pytest.mark.slow
async def test_a_drain_whose_calls_are_slow_renews_its_leases(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    endpoint.fault("messages", "stall")
    await sender.items("a", lane=Lane.REALTIME)
    async with drain(at, standing=False, pace=DrainPace(renew_s=0.02)) as opened:
        await turns(opened, lambda: work_is(sender, claimed=1))
        ((first,),) = await sender.rows("select lease_until from lanes.work")

        async def renewed() -> bool:
            return await sender.rows(
                "select lease_until > :first from lanes.work", first=first
            ) == [(True,)]

        await turns(opened, renewed)
        endpoint.reset()
        await until_answered(opened, sender, "a")
    assert await sender.rows("select claim_no, failures from lanes.work") == [(1, 0)]


@pytest.mark.slow
async def test_a_new_drain_takes_the_claims_of_a_dead_drain_whose_leases_have_expired_at_its_first_look(
    at: Connections, sender: Sender, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.drain.CHORES_EVERY_S", 3600)  # so there is no second look
    await sender.items("a", lane=Lane.REALTIME)
    now = await at.db.now()
    assert (
        len(
            await at.db.run(
                work.claim, Lane.REALTIME, {"letters": 1}, worker="died", lease=LEASE, now=now
            )
        )
        == 1
    )
    sender.time.passes(seconds=19)
    assert await at.db.run(work.list_abandoned, now=await at.db.now()) == []
    sender.time.passes(seconds=2)
    async with drain(at, standing=False) as opened:
        async with asyncio.timeout(PROMPTLY_S):
            await until_answered(opened, sender, "a")
    assert await sender.rows(
        "select outcome, bound_usd > 0 from lanes.attempt_log order by attempt"
    ) == [("unknown", True), ("valid", False)]


@pytest.mark.slow
async def test_a_drain_that_loses_every_session_while_calls_are_in_flight_loses_no_claim(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn, pool: Engine
) -> None:
    endpoint.fault("messages", "stall")
    await sender.items(*"abcdef", lane=Lane.REALTIME, max_failures=1)
    async with drain(at, standing=False, pace=DrainPace(renew_s=0.05)) as opened:
        await turns(opened, lambda: work_is(sender, claimed=6))
        opened.advance()
        with pool.begin() as connection:
            connection.execute(text(END_OTHERS))
        await at.db.close()  # sessions that the pool kept
        ((before,),) = await sender.rows("select min(lease_until) from lanes.work")

        async def renewed() -> bool:
            return await sender.rows(
                "select min(lease_until) > :before from lanes.work", before=before
            ) == [(True,)]

        await turns(opened, renewed)
        assert await at.db.run(work.list_abandoned, now=await at.db.now()) == []
        endpoint.reset()
        await until_answered(opened, sender, *"abcdef")
    assert endpoint.bill()["responses"] == 6
    assert await sender.rows("select outcome, count(*) from lanes.attempt group by 1") == [
        ("valid", 6)
    ]


async def test_a_drain_does_not_renew_its_leases_once_its_loop_has_stalled_or_ended(
    at: Connections, sender: Sender, prefect: PrefectStandIn
) -> None:
    await sender.items("a", lane=Lane.REALTIME, buffer_s=5, realtime_pack=20)
    async with drain(at, standing=False) as opened:
        await turns(opened, lambda: work_is(sender, claimed=1))
        leases = opened.main.leases
        await asyncio.to_thread(leases.renew)
        ((until,),) = await sender.rows("select lease_until from lanes.work")
        leases.loop_s = -1.0
        await asyncio.to_thread(leases.renew)
        assert await sender.rows("select lease_until from lanes.work") == [(until,)]
    assert not leases._thread.is_alive()


@pytest.mark.slow
async def test_a_drain_returns_claims_that_it_could_not_renew_recently_without_a_call(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    packed = {"lane": Lane.REALTIME, "buffer_s": 5, "realtime_pack": 2}
    await sender.items("a", **packed)
    # Without renewals, because one would allow a call with the first claim.
    async with drain(at, standing=False, pace=DrainPace(renew_s=3600)) as opened:
        await turns(opened, lambda: work_is(sender, claimed=1))
        long_ago = time.monotonic() - RENEWED_WITHIN_S
        opened.main.leases.record_claims(opened.main.state.claims.values(), at=long_ago)
        await sender.items("b", **packed)  # fills the pack
        await until_answered(opened, sender, "a", "b")
    # The first claims ended without a call: both items were answered later, in a single call.
    assert await sender.rows("select distinct claim_no > 1, failures from lanes.work") == [
        (True, 0)
    ]
    assert await sender.rows("select outcome, count(*) from lanes.attempt_log group by 1") == [
        ("valid", 2)
    ]
    assert endpoint.bill()["responses"] == 1
