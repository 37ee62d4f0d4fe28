"""Leading a rollout: measure the step in force, evaluate its gates, and make the next move. The database row is the truth."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import UUID

from prefect import get_client
from prefect.artifacts import acreate_markdown_artifact
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from sqlalchemy.exc import DBAPIError

from lanes.errors import ActionRefused
from lanes.ids import RolloutId
from lanes.json_data import why_unstorable
from lanes.promises.incident import Incident
from lanes.report import rollout as report
from lanes.report import rollout_plan
from lanes.rollouts.gates import Figures, Judgement
from lanes.rollouts.playbook import BLOCK_TYPE, Playbook, block_name, load, read_block
from lanes.rollouts.refusals import sample_ratio_mismatch, sentences
from lanes.rollouts.rollout import Approval, Hold, Move, Rollout, next_move
from lanes.settings import Settings
from lanes.standing import runs
from lanes.store.database import Database
from lanes.store.rollouts import plans, rollout_measures, rollout_moves, rollouts, shadows
from lanes.store.signals import RoleLock, holder_exists
from lanes.words import Signature
from tasks.approval import is_asking, show_again, withdraw
from tasks.outgoing import publish_events
from tasks.runs import Troubles, ask_for_run, plain_task, summarize_error

TICK_S = 10.0
NEAR_TICK_S = 1.0  # with the local stand-in, whose items are answered within seconds
HANDOVER_S = 30.0  # a run that is resumed at once may meet its own earlier process, which is ending
# measuring takes at most this share of a run's time, however many items a step has routed
LOOK_SHARE = 0.05
SHOW_EVERY = timedelta(minutes=1)
SPLITS_SHOWN = 15


@dataclass(frozen=True)
class RolloutOrder:
    """A person's order to start a rollout."""

    playbook: str
    file: str
    workload: str
    consumer: str | None
    who: str
    why: str
    version: int | None = None  # number of the candidate that a canary moves items to

    def check(self) -> "RolloutOrder":
        """Return the order itself, once it is valid.

        Raises:
            ActionRefused: the order is not signed, or the database cannot store its text.
        """
        if not (self.who and self.why):
            raise ActionRefused(
                "who and why: a rollout is signed with a name and a reason; fill both in"
            )
        for name, value in asdict(self).items():
            if (problem := why_unstorable(value, name)) is not None:
                raise ActionRefused(problem)
        return self


class Lead:
    """One run's lead of a rollout, as the steps that `flows.migrate` calls."""

    def __init__(self, db: Database, rollout: Rollout) -> None:
        self._db = db
        self._judged: list[Judgement] = []
        self._hindrances: list[Incident] = []
        self._answered = 0
        self._says = ""
        self._took_s = 0.0
        self._shown: tuple[object, ...] = ()
        self._shown_at: datetime | None = None
        self._artifact_id: str | None = None
        self._question = ""
        self._plan: tuple[int, str] | None = None  # of a step
        self.rollout = rollout

    @property
    def asks(self) -> bool:
        """Whether a person has to approve."""
        return self.rollout.is_waiting

    async def moves(self) -> bool:
        """Make, publish and show the next move; return whether the rollout is still open."""
        began = time.monotonic()
        now = await self._db.now()
        move = await self.decide(now)
        if self.rollout.is_open:
            await self._make(move, now)
        self.rollout = await self._db.run(rollouts.find, self.rollout.id)
        self._took_s = time.monotonic() - began
        await self._show(now)
        with suppress(Exception):  # Prefect is unavailable: the events wait in the outbox
            await publish_events(self._db)
        return self.rollout.is_open

    async def decide(self, now: datetime) -> Move:
        """Return the rollout's next move, from its current row and new measurements."""
        self.rollout = current = await self._db.run(rollouts.find, self.rollout.id)
        if current.is_open:
            hindered_by = await self._look_for_hindrances(current)
            figures = await self._measure(current, now)
            self._answered = figures.answered
            self._judged = current.judge_figures(figures)
            target = "real time" if current.version is None else current.goes_to
            mismatch = sample_ratio_mismatch(figures.moved, current.basis_points, target)
        else:
            hindered_by, mismatch = [], None
        situation = current.situation(self._answered, hindered_by, mismatch)
        move = next_move(situation, self._judged, current.approval, now)
        self._says = move.why
        return move

    async def wait(self) -> None:
        """Wait until the next measurement is due."""
        await asyncio.sleep(_pause_s(self._took_s))

    async def hear(self, answer: Approval | None) -> None:
        """Store a person's answer; ask again if it is None, because the form was not filled in correctly."""
        now = await self._db.now()
        if answer is None:
            why = "the answer could not be used"
            await self._db.run(rollout_moves.ask_again, self.rollout, why=why, now=now)
        else:
            await self._db.run(rollout_moves.hear, self.rollout, answer, now=now)

    async def question(self) -> str:
        """Return the question to the person who has to approve."""
        progress = await self._progress(await self._db.now())
        return report.question(progress, artifact_id=self._artifact_id)

    async def show_question(self) -> None:
        """Show the gates as they are now on the form of the suspended run that asks."""
        question = await self.question()
        if question != self._question and self.rollout.flow_run_id is not None:
            await show_again(self.rollout.flow_run_id, question)
            self._question = question

    @property
    def page(self) -> str:
        """The page with the rollout's figures."""
        return report.page(self.rollout, self._artifact_id)

    def headline(self) -> str:
        """Return the state of the rollout in one line."""
        if self._says:
            return f"{report.describe_state(self.rollout)}; {self._says}"
        return report.describe_state(self.rollout)

    async def _look_for_hindrances(self, seen: Rollout) -> list[str]:
        """Return the hindrances of a forward move as sentences; a failed query counts as one, too."""
        try:
            self._hindrances = await self._db.run(rollouts.list_hindering, seen)
        except DBAPIError as error:
            get_run_logger().error("the incidents could not be read", exc_info=error)
            return [f"the incidents could not be read: {type(error.orig).__name__}"]
        return sentences(self._hindrances)

    async def _measure(self, seen: Rollout, now: datetime) -> Figures:
        if not seen.entered:
            return Figures(0, [])  # its share is not in force yet, so nothing was routed by it
        try:
            await self._db.run(shadows.owe, seen, now=now)
            return await self._db.run(rollout_measures.take, seen, now=now)
        except DBAPIError as error:
            problem = f"the figures could not be read: {type(error.orig).__name__}"
            get_run_logger().error("%s", problem, exc_info=error)
            return Figures(0, rollout_measures.unavailable(seen.now_at.gates, problem))

    async def _make(self, move: Move, now: datetime) -> None:
        if isinstance(move, Hold):
            await self._db.run(rollout_moves.apply, self.rollout, move, self._judged, now=now)
        else:
            await make_move(self._db, self.rollout, move, self._judged, type(move).__name__)

    async def _show(self, now: datetime) -> None:
        """Write the artifact if state, step, verdicts or hindrances have changed, and otherwise once a minute."""
        current = self.rollout
        verdicts = (each.verdict for each in self._judged)
        held_by = (each.id for each in self._hindrances)
        matters = (current.state, current.step, current.asked, current.entered, *verdicts, *held_by)
        is_old = self._shown_at is None or now - self._shown_at >= SHOW_EVERY
        if matters == self._shown and not is_old:
            return
        self._shown, self._shown_at = matters, now
        progress = await self._progress(now)
        with suppress(Exception):  # Prefect is unavailable: go on without the artifact
            page, key = report.render(progress), report.key(current.workload)
            summary = report.headline(progress)
            written = await acreate_markdown_artifact(page, key=key, description=summary)
            self._artifact_id = str(written)

    async def _progress(self, now: datetime) -> report.Progress:
        current = self.rollout
        log = await self._db.run(rollouts.log, current.id)
        splits = await self._db.run(
            rollouts.split_history, current.workload, current.consumer, SPLITS_SHOWN
        )
        spent = (
            await self._db.run(shadows.read_spent, current.id) if current.playbook.shadows else None
        )
        progress_fields = (
            self._answered,
            self._judged,
            self._says,
            log,
            splits,
            now,
            self._hindrances,
            spent,
        )
        return report.Progress(current, *progress_fields, await self._render_plan(now))

    async def _render_plan(self, now: datetime) -> str:
        """Return the artifact's section about the plan, which is built once for each step."""
        current = self.rollout
        if self._plan is None or self._plan[0] != current.step:
            try:
                plan = await self._db.run(plans.plan_rollout, current, now=now)
            except DBAPIError:  # the rollout continues without this section
                return ""
            text = (
                "" if plan is None else await asyncio.to_thread(rollout_plan.section, plan, current)
            )
            self._plan = current.step, text
        return self._plan[1]


@plain_task("move rollout", "rollout: {name}")
async def make_move(
    db: Database, seen: Rollout, move: Move, judged: list[Judgement], name: str
) -> bool:
    """Make the move unless another run has moved the rollout since it was `seen`; return whether it was made."""
    async with db.transaction() as run:
        made = await run(rollout_moves.apply, seen, move, judged, now=run.now)
    late = "" if made else " (it moved meanwhile)"
    get_run_logger().info("%s of %s: %s%s", name, seen.workload, move.why, late)
    return made


@asynccontextmanager
async def leading(
    db: Database, wanted: RolloutOrder | None, run_id: UUID
) -> AsyncIterator[Lead | None]:
    """Yield the rollout to lead: the one this run led before, a new one, or an open one without a run; None if there is none.

    Raises:
        PlaybookInvalid, UnknownWorkload, ActionRefused: the `wanted` rollout cannot start.
    """
    async with AsyncExitStack() as stack:
        rollout = await db.run(rollouts.find_led_by, run_id)
        if rollout is None and wanted is not None:
            rollout = await _start(db, wanted, run_id)
        if rollout is not None:
            held = await _take(stack, db, rollout, within_s=HANDOVER_S)
        else:
            rollout = await _take_abandoned(stack, db)
            held = rollout is not None
        if rollout is None or not held:
            yield None
            return
        await db.run(rollouts.lead, rollout.id, run_id)
        yield Lead(db, rollout)


async def read_playbook(name: str, file: str = "") -> Playbook:
    """Return the playbook with that name, or the one in `file` if given; both accept `block:NAME`.

    Raises:
        PlaybookInvalid: the playbook does not exist, or it is invalid; the error names the wrong lines and fields.
    """
    block = block_name(file or name)
    if block is None:
        return load(name, file)
    async with get_client() as client:
        try:
            data = (await client.read_block_document_by_name(block, BLOCK_TYPE)).data
        except ObjectNotFound:
            data = None
    return read_block(block, data)


async def _start(db: Database, order: RolloutOrder, run_id: UUID) -> Rollout:
    playbook = await read_playbook(order.playbook, order.file)
    async with db.transaction() as run:
        return await run(
            rollout_moves.start,
            playbook,
            name=order.workload,
            consumer=order.consumer,
            version=order.version,
            by=Signature(order.who, order.why, run.now),
            run_id=run_id,
        )


async def _take(
    stack: AsyncExitStack, db: Database, rollout: Rollout, *, within_s: float = 0
) -> bool:
    lock = await stack.enter_async_context(RoleLock(db.direct_url, rollouts.lock_key(rollout.id)))
    if await lock.try_take() or (within_s and await lock.take_over(within_s=within_s)):
        return True
    get_run_logger().info("another run leads rollout %d; leaving it to that one", rollout.id)
    return False


async def _take_abandoned(stack: AsyncExitStack, db: Database) -> Rollout | None:
    """Take the first open rollout that no run leads; check the gates of rollouts whose run waits for a person."""
    taken: Rollout | None = None
    for rollout in await db.run(rollouts.list_open):
        if await db.run(holder_exists, rollouts.lock_key(rollout.id)):
            continue
        if await _waits_for_a_person(rollout):
            await _guard(Lead(db, rollout), db)
        elif taken is not None:
            await ask_for_run(runs.migrate())  # another run, to lead this rollout
            break
        elif await _take(stack, db, rollout):
            taken = rollout
    return taken


@asynccontextmanager
async def guarding(db: Database) -> AsyncIterator[None]:
    """Evaluate the gates of rollouts that wait for a person at every tick within the block, as their own runs would."""
    running = asyncio.create_task(_guard_all(db))
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _guard_all(db: Database) -> None:
    leads: dict[RolloutId, Lead] = {}
    troubles = Troubles()
    while True:
        began = time.monotonic()
        try:
            waiting = [
                rollout for rollout in await db.run(rollouts.list_open) if rollout.is_waiting
            ]
            leads = {rollout.id: leads.get(rollout.id) or Lead(db, rollout) for rollout in waiting}
            for rollout in waiting:
                if await _waits_for_a_person(rollout):
                    await _guard(leads[rollout.id], db)
            troubles.clear("guard")
        # the gates are evaluated again at the next tick, and after an approval
        except Exception as error:
            troubles.report(
                "guard", f"open questions could not be looked at: {summarize_error(error)}"
            )
        await asyncio.sleep(_pause_s(time.monotonic() - began))


def _pause_s(took_s: float) -> float:
    """Return the pause before the next evaluation, after one that took `took_s` seconds."""
    tick = NEAR_TICK_S if Settings.read().provider_is_local else TICK_S
    return max(tick, took_s / LOOK_SHARE)


async def _guard(lead: Lead, db: Database) -> None:
    """Evaluate the gates of a suspended run's rollout once: a failed gate rolls it back; otherwise show them on the form."""
    async with AsyncExitStack() as stack:
        if not await _take(stack, db, lead.rollout):
            return
        if not await lead.moves():
            await withdraw(lead.rollout.flow_run_id, "the rollout was taken back")
        elif lead.asks:
            await lead.show_question()


async def _waits_for_a_person(rollout: Rollout) -> bool:
    """Return whether the rollout's run is suspended, or was resumed and has not ended."""
    run_id = rollout.flow_run_id
    return rollout.is_waiting and run_id is not None and await is_asking(run_id)


async def name_run(run_id: UUID, rollout: Rollout) -> None:
    """Name the run after the rollout that it leads, which it may have taken over."""
    with suppress(Exception):  # Prefect is unavailable: the rollout continues without the name
        async with get_client() as client:
            name = f"migrate {rollout.workload} by {rollout.playbook.name}"
            await client.update_flow_run(run_id, name=name)
