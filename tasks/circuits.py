"""The circuits that a drain shares with the others: heard once a second, moved on where a call says something new.

Where they can be neither read nor written, the drain goes on with what it sees itself.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial

from prefect.logging import get_run_logger
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from lanes.realtime.circuit import Circuit, Fault
from lanes.realtime.health import Health
from lanes.store.database import Run
from lanes.store.realtime import circuits, outages
from tasks.connections import Connections
from tasks.saving import passes
from tasks.weighing import Consequences

SHARE_EVERY_S = 1.0


class Circuits:
    """Those of one drain's account; `health` knows what they mean for it."""

    def __init__(self, at: Connections, health: Health) -> None:
        self._at, self._health, self._known = at, health, health.circuits

    async def share(self, *, held: Collection[str] = ()) -> list[str]:
        """What others know is known here; the models that answer again since the last time. Probes are kept for `held` ones."""
        async with self._at.db.statements() as run:
            again = self._known.heard(await run(circuits.known, self._at.provider.account), run.now)
        for model in again:
            self._health.others_are_answered(model)
        await self.give_back_unasked(now=run.now, but=held)
        return again

    async def probe(self, run: Run, due: Mapping[str, Circuit], now: datetime) -> None:
        """Take the probes of the circuits in `due`, whose models have work to ask, unless another drain was faster."""
        for model, circuit in due.items():
            try:
                taken = await run(circuits.take_probe, circuit, now=now)
            except DBAPIError as error:
                if passes(error):
                    raise
                self._give_up(error)
                return
            if taken is None:
                self._known.missed(model, circuit, now)
            else:
                self._health.took_probe(model, taken, now)

    def to_tell(self, then: Consequences) -> Iterator[Callable[[], Awaitable[None]]]:
        """What makes known to all drains what these calls say of the circuits of their models."""
        yield from (
            partial(self.answered, model, began_at) for model, began_at in then.answered.items()
        )
        yield from (partial(self.faulted, model, fault) for model, fault in then.faults.items())
        yield from (
            partial(self.give_back, model, turn, asked=True)
            for model, turn in then.told_nothing.items()
        )

    async def faulted(self, model: str, fault: Fault) -> None:
        """Others know of the fault, where it says something that they do not know."""
        now = await self._at.db.now()
        if not self._health.of(model).faults or not self._known.is_news(model, fault, now):
            return  # it was answered meanwhile, or others know

        async def tell() -> None:
            circuit = await self._at.db.run(
                outages.faulted,
                self._at.provider.account,
                model,
                fault,
                flow_run_id=self._at.flow_run_id,
                now=now,
            )
            self._known.moved(model, circuit, now)

        await self._where_possible(tell)

    async def answered(self, model: str, began_at: datetime) -> None:
        """Others know that a call of the model that began then was answered."""

        async def tell() -> None:
            circuit = await self._at.db.run(
                circuits.answered, self._at.provider.account, model, began_at=began_at
            )
            self._known.moved(model, circuit, await self._at.db.now())

        await self._where_possible(tell)

    async def give_back(self, model: str, turn: int, *, asked: bool) -> None:
        """The probe of that turn is free for others; `asked`: it told nothing, so the model rests again."""
        self._known.let_go(model)

        async def tell() -> None:
            now, account = await self._at.db.now(), self._at.provider.account
            circuit = await self._at.db.run(
                circuits.give_back_probe, account, model, turn=turn, asked=asked, now=now
            )
            self._known.moved(model, circuit, now)

        await self._where_possible(tell)

    async def give_back_unasked(
        self, *, now: datetime | None = None, but: Collection[str] = ()
    ) -> None:
        """Release the probes that were not used.

        With `now`, only those of more than a second ago; models in `but` keep theirs, because work of them is held.
        """
        for model, turn in self._known.unasked(now).items():
            if model not in but:
                await self.give_back(model, turn, asked=False)

    async def close(self) -> None:
        """Give back every probe that is not asked; if that cannot be saved, other drains wait 15 seconds for it."""
        with suppress(DBAPIError, NoConnectionFree):
            await self.give_back_unasked()

    async def _where_possible(self, tell: Callable[[], Awaitable[None]]) -> None:
        """Raises what passes, so that it is tried again; of anything else the drain's own sight is left."""
        try:
            await tell()
        except DBAPIError as error:
            if passes(error):
                raise
            self._give_up(error)

    def _give_up(self, why: DBAPIError) -> None:
        get_run_logger().warning(
            "circuits cannot be shared: %s; this drain rests by itself", type(why.orig).__name__
        )
        self._known.forget()
