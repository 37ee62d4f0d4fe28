"""Hostile answers of the provider to calls and batches, mixed with well-formed ones, from the wire to the ledger.

The checks: neighbours settle with their own answer at the price that the provider bills; the batch closes; every answer that
the provider billed is in the ledger, or its attempt is `unknown` with a bound that covers it; no cost or token count is
negative; and no error leaves a traceback in a log.
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Connection, create_engine, text

from anthropic_standin.testing import Endpoint, Host
from blocks.provider import Provider
from lanes.batch.batch import OpenBatch
from lanes.store.batch import batches, ready_work
from lanes.store.database import Database
from lanes.store.workload import workloads
from lanes.words import Lane
from tasks import collect
from tasks.connections import Connections, opening
from tasks.send_batch import send_batch
from tests.examples import admit, publish, route
from tests.flows.realtime import ask, claim
from tests.fuzz.logs import tracebacks
from tests.fuzz.spoiling import NAMED, HostileAnswers, Spoiling
from tests.fuzz.verdicts import FuzzFault
from tests.passing_time import PassingTime

NEIGHBOURS = 12  # of one round
READINGS = 4  # the reader accepts an unreadable line after three readings
UNBILLED = ("errored", "canceled", "expired")  # the provider itself reports these as unbilled
REQUESTS = """
select i.key, m.request_no from lanes.batch_member m join lanes.work w on w.id = m.work_id join lanes.item i on i.id = w.item_id
 where m.batch_id = :batch
"""
BECAME = """
select i.key, i.state, a.outcome, a.error, a.cost_usd, a.bound_usd,
       exists (select from lanes.spend s where s.message_id = a.message_id)
  from lanes.item_status i left join lanes.attempt_log a on a.workload = i.workload and a.key = i.key
 where i.key = any(:keys)
"""
NEGATIVE = """
select count(*) from lanes.spend where least(cost_usd, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens) < 0
"""
CANCEL = (
    "select lanes.cancel('letters', given.key) from unnest(cast(:keys as text[])) as given (key)"
)


@dataclass(frozen=True)
class ItemEnd:
    """The final state of an item, and its attempts."""

    state: str
    attempts: list[
        tuple[str | None, str | None, Decimal, Decimal, bool]
    ]  # outcome, error, cost, bound, whether it is booked


class BothLanes:
    """Both lanes of one database, with a provider whose answers can be replaced."""

    def __init__(
        self,
        at: Connections,
        pool_url: str,
        endpoint: Endpoint,
        spoiling: Spoiling,
        time: PassingTime,
        logged: list[str],
    ) -> None:
        self._at, self._endpoint, self._spoiling, self._time, self._logged = (
            at,
            endpoint,
            spoiling,
            time,
            logged,
        )
        self._pool = create_engine(pool_url)
        self._rounds, self._billed_until = 0, 0

    async def batch(self, answers: HostileAnswers, number: int) -> list[FuzzFault]:
        """Send `number` items and their neighbours in one batch; the results of the items are hostile."""
        hostile, neighbours = await self._items(number, Lane.BATCH)
        (kind,) = await self._at.db.run(
            ready_work.list_waiting_kinds, None, now=await self._at.db.now()
        )
        await send_batch(self._at, kind)
        batch = (await self._at.db.run(batches.open_batches))[-1]
        assert batch.provider_batch_id is not None
        self._endpoint.ended(batch.provider_batch_id)
        await collect.poll(self._at, batch)
        rows = await self._rows(REQUESTS, batch=batch.id)
        keys = {f"{batch.nonce}-{number}": key for key, number in rows}
        said: dict[str, bytes] = {}

        def spoil(custom_id: str, line: dict[str, Any]) -> bytes | None:
            key = keys[_unlabeled(custom_id)]
            if key in neighbours:
                return None
            return said.setdefault(key, answers.line(line))

        self._spoiling.spoil = spoil
        broke = await self._brought_home(batch)
        ((state,),) = await self._rows(
            "select state from lanes.batch_status where batch_id = :id", id=batch.id
        )
        billed = {
            keys[_unlabeled(custom_id)]: message
            for custom_id, message in self._spoiling.billed.items()
            if _unlabeled(custom_id) in keys
        }
        faults = [
            FuzzFault("crash", "batch", why, _shown(said)) for why in [*broke, *self._heard()]
        ]
        if state != "collected" and not broke:
            faults.append(
                FuzzFault(
                    "crash",
                    "batch",
                    f"the batch is {state} after {READINGS} readings",
                    _shown(said),
                )
            )
        return faults + await self._checked("batch", hostile, neighbours, billed, said)

    async def calls(self, answers: HostileAnswers, number: int) -> list[FuzzFault]:
        """Send `number` items and their neighbours at once, one call each; the answers to the items are hostile."""
        hostile, neighbours = await self._items(number, Lane.REALTIME)
        texts = {f"letter {key}": key for key in (*hostile, *neighbours)}
        said: dict[str, bytes] = {}

        def spoil(asked: str, message: dict[str, Any]) -> bytes | None:
            key = texts.get(asked)
            return (
                None
                if key is None or key in neighbours
                else said.setdefault(key, answers.message(message))
            )

        self._spoiling.spoil = spoil
        broke: list[str] = []
        try:
            claimed = await claim(self._at, limit=len(texts))
            await ask(self._at, claimed)
        except Exception as error:
            broke.append(f"{type(error).__name__}: {error}")
        billed = {
            texts[asked]: message
            for asked, message in self._spoiling.billed.items()
            if asked in texts
        }
        faults = [
            FuzzFault("crash", "calls", why, _shown(said)) for why in [*broke, *self._heard()]
        ]
        return faults + await self._checked("calls", hostile, neighbours, billed, said)

    def _heard(self) -> list[str]:
        """Return the tracebacks that were logged since the last call."""
        heard = [*self._logged]
        self._logged.clear()
        return heard

    async def _items(self, number: int, lane: Lane) -> tuple[list[str], list[str]]:
        """Admit and route hostile items and their neighbours, mixed; return the keys of both."""
        self._rounds += 1
        self._spoiling.billed.clear()
        every = [f"{lane}{self._rounds}-{n}" for n in range(number + NEIGHBOURS)]
        step = max(1, len(every) // NEIGHBOURS)
        neighbours = every[::step][:NEIGHBOURS]
        hostile = [key for key in every if key not in set(neighbours)]
        now = await self._at.db.now()
        with self._pool.begin() as connection:
            if "letters" not in workloads.read_versions(connection):
                publish(connection, now=now)
            admit(connection, *every, now=now, lane=lane)
            route(connection, now=now)
        return hostile, neighbours

    async def _brought_home(self, batch: OpenBatch) -> list[str]:
        for _ in range(READINGS):
            try:
                await collect.bring_home(self._at, batch)
                return []
            except collect.ShortRead:
                self._time.passes(minutes=1)
            except Exception as error:
                return [f"{type(error).__name__}: {error}"]
        return []

    async def _checked(
        self,
        lane: str,
        hostile: Sequence[str],
        neighbours: Sequence[str],
        billed: dict[str, str],
        said: dict[str, bytes],
    ) -> list[FuzzFault]:
        usd = self._bill()
        became = await self._became([*hostile, *neighbours])
        faults: list[FuzzFault] = []
        for key in neighbours:
            fine = became[key].state == "settled" and [
                each[0] for each in became[key].attempts
            ] == ["valid"]
            price = usd.get(billed.get(key, ""))
            if not fine or became[key].attempts[0][2] != price:
                why = f"a well-formed neighbour is {became[key]}, and the provider bills {price}"
                faults.append(FuzzFault("harmed", lane, why, _shown(said)))
        for key in hostile:
            why = unbooked(
                became[key], usd.get(billed.get(key, ""), Decimal(0)), said.get(key, b"")
            )
            if why is not None:
                faults.append(
                    FuzzFault("unbooked", lane, why, said.get(key, b"").decode(errors="replace"))
                )
        ((negative,),) = await self._rows(NEGATIVE)
        if negative:
            faults.append(
                FuzzFault(
                    "unbooked",
                    lane,
                    f"{negative} rows of the ledger are below nothing",
                    _shown(said),
                )
            )
        await self._rows(CANCEL, keys=list(hostile))
        return faults

    def _bill(self) -> dict[str, Decimal]:
        """Return the USD that the provider billed since the last call, by message id."""
        rows = list[dict[str, Any]]()
        while True:
            page = self._endpoint.control(
                "GET", f"bill/messages?limit=10000&after={self._billed_until}"
            )
            rows += page["data"]
            if page["data"]:
                self._billed_until = page["data"][-1]["seq"]
            if page["next"] is None:
                return {row["message_id"]: Decimal(row["usd"]) for row in rows}

    async def _became(self, keys: Sequence[str]) -> dict[str, ItemEnd]:
        found: dict[str, ItemEnd] = {}
        for key, state, outcome, error, usd, bound, is_booked in await self._rows(
            BECAME, keys=list(keys)
        ):
            became = found.setdefault(key, ItemEnd(state, []))
            if outcome is not None:
                became.attempts.append(
                    (outcome, error, usd or Decimal(0), bound or Decimal(0), is_booked)
                )
        return found

    async def _rows(self, query: str, **values: object) -> list[Any]:
        def asked(connection: Connection) -> list[Any]:
            return [tuple(row) for row in connection.execute(text(query), values)]

        return await self._at.db.run(asked)


def unbooked(became: ItemEnd, usd: Decimal, said: bytes) -> str | None:
    """Return the fault of a billed answer that is neither booked nor bounded in the ledger, or None."""
    if _is_unbilled(said):
        return None
    booked = any(is_booked for *_, is_booked in became.attempts)
    bounded = any(
        outcome == "unknown" and bound >= usd for outcome, _, _, bound, _ in became.attempts
    )
    return None if booked or bounded else f"the provider bills {usd} for it, and it is {became}"


def _is_unbilled(said: bytes) -> bool:
    """Return whether a line of results says that its request has no answer."""
    try:
        line = json.loads(said)
        return NAMED in line and line["result"]["type"] in UNBILLED
    except (ValueError, RecursionError, KeyError, TypeError):
        return False


def _unlabeled(custom_id: str) -> str:
    """Return the nonce and the number of a request."""
    return f"{custom_id.partition('-')[0]}-{custom_id.rpartition('-')[2]}"


def _shown(said: dict[str, bytes]) -> str:
    return "\n".join(each.decode(errors="replace")[:20_000] for each in said.values())


@asynccontextmanager
async def lanes(url: str, folder: Path) -> AsyncIterator[BothLanes]:
    """Yield both lanes of a fresh Lanes database, with a provider of their own."""
    time, spoiling, host = PassingTime(), Spoiling(), Host()
    try:
        standin = partial(
            host.standin, folder / "provider", machine=time.of_host, through=spoiling.around
        )
        with standin() as endpoint, tracebacks() as logged:
            provider = Provider(
                api_key=SecretStr("x"), base_url=endpoint.url, poll_s=0.2, listing_grace_s=5
            )
            async with Database(url, clock=time.of_database) as db, opening(provider) as client:
                at = Connections(db, client, provider)
                await at.client()
                yield BothLanes(at, url, endpoint, spoiling, time, logged)
    finally:
        host.stop()
