"""The main job, which sends items, follows them until they are settled, and reports on them."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from lanes.doors.filedoor import Layout
from lanes.doors.item import Refusal
from lanes.errors import SetupError, StandError
from lanes.mainjob.onlooker import Onlooker
from lanes.mainjob.samples import WORKLOADS, sample_amendments, sample_appeals, sample_items
from lanes.mainjob.scene import SampleSubmission, Scene, samples, send
from lanes.report import page, summary
from lanes.report.links import DETAILS, REPORT, artifact_page
from lanes.report.snapshot import Snapshot
from lanes.settings import Settings
from lanes.settling.holds import DepartRun, Movers, sentence
from lanes.settling.listing import AnswerExample, choose
from lanes.stand.prefect_api import PrefectApi
from lanes.standing import runs
from lanes.store.database import clock
from lanes.store.doors import items
from lanes.store.doors.items import admit_file
from lanes.store.report import snapshot
from lanes.store.settling import listing, story
from lanes.store.signals import Role, holder_exists
from lanes.units import pluralize

POLL_S = 0.3
SAY_S = 1.0  # the shortest interval between queries for the reason of a wait
LOOKED_AT = 2_000  # answers of a workload from which examples are chosen
STALLED_AFTER_S = 180.0  # without any change
IN_FLIGHT = 160  # most events sent and not admitted: Prefect silently drops events for a subscriber that is 256 behind
PACED_S = 2.0  # the longest wait of a request for the admission of earlier events
RESEND_AFTER_S = 15.0  # after this time, events that were not admitted are sent again
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")  # states of a flow run that has ended
OVER = {"settled", "failed", "canceled"}

WAITS_ALONE = """
select exists (select from lanes.work w join lanes.item i on i.id = w.item_id join lanes.workload f on f.name = w.workload
                where w.workload = :workload and i.key = any(:keys) and w.state = 'ready' and w.lane = 'batch'
                  and w.generation = 0 and w.ready_at <= :now and f.paused_at is null)
   and not exists (select from lanes.work where workload = :workload and lane = 'realtime' and state = 'ready'
                                            and generation = 0)
   and not exists (select from lanes.work where workload = :workload and lane = 'realtime' and state = 'claimed'
                                            and generation = 0)
   and not exists (select from lanes.item where workload = :workload and position is null and canceled_at is null)
   and not exists (select from lanes.batch where state = 'intended')
"""

WAITING = """
select f.name from lanes.workload f
 where f.paused_at is null
   and exists (select from lanes.work w
                where w.workload = f.name and w.state = 'ready' and w.lane = 'batch' and w.ready_at <= :now)
"""


@dataclass
class SentItems:
    """The items that this run sent, and the outcomes at the doors."""

    keys: dict[str, list[str]] = field(default_factory=dict)  # by workload
    # of these, the keys of the items that entered as if they came before the run
    earlier: list[str] = field(default_factory=list)
    scene: Scene | None = None  # the readers and the late data of the run
    outcomes: Counter[str] = field(default_factory=Counter)
    bad: list[Refusal] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(map(len, self.keys.values()))

    def add(self, more: Sequence[SampleSubmission]) -> None:
        """Count these items as items of the run."""
        for each in more:
            self.keys.setdefault(each.workload, []).append(each.key)


class MainJob:
    """One run of the main job against a stand that is up. `onlooker` shows the progress and the reason of each wait."""

    def __init__(self, pool: Engine, api: PrefectApi, onlooker: Onlooker) -> None:
        self._pool, self._api, self._onlooker = pool, api, onlooker
        self._looked_at = float("-inf")  # time of the last query for the reason of a wait

    def now(self) -> datetime:
        """Return the database's time."""
        with self._pool.begin() as connection:
            return clock(connection)

    def await_drain(self, *, within_s: float = 20) -> None:
        """Wait until a drain routes items, for up to `within_s` seconds: items sent before would only wait for the drain."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            with self._pool.begin() as connection:
                if holder_exists(connection, Role.ROUTER):
                    return
            self._show_wait(lambda: "waiting for a drain: no run of `answer` reads events yet")
            time.sleep(POLL_S)

    def send_samples(self) -> SentItems:
        """Send every ready-made item through the event door and wait until all are admitted; send lost events again.

        The scene with readers and late data begins here and continues in `follow`.

        Raises:
            SetupError: some items were not admitted within three minutes.
        """
        now = self.now()
        run, sent_items = f"{now:%m%d-%H%M%S}", SentItems()
        mine = samples(run, {each: sample_items(each) for each in WORKLOADS}, now=now)
        late = samples(run, sample_amendments(), now=now)
        waiting, began = mine, time.monotonic()
        give_up = began + STALLED_AFTER_S
        sent_items.add(mine)
        sent_items.scene = Scene(
            self._pool, self._api, mine, late, samples(run, sample_appeals(), now=now)
        )
        for done in send(self._api, mine, now=now):
            self._onlooker.show_count("sent as events", done, len(mine))
            waiting = self._pace(waiting, len(mine) - done)
        while waiting:
            time.sleep(POLL_S)
            waiting = self._find_unadmitted(waiting)
            self._onlooker.show_count("admitted", len(mine) - len(waiting), len(mine))
            self._look(sent_items)
            left = pluralize(len(waiting), "event")
            self._show_wait(
                lambda left=left: (
                    f"waiting for {left}: the drain that reads them has not admitted them yet"
                )
            )
            if waiting and time.monotonic() > give_up:
                raise SetupError(
                    f"{len(waiting)} events were not admitted within {STALLED_AFTER_S:.0f} s: "
                    "look at the runs of `answer` in the Prefect UI and at `lanes status`"
                )
            if waiting and time.monotonic() - began > RESEND_AFTER_S:
                began = time.monotonic()
                list(send(self._api, waiting, now=self.now()))
        sent_items.outcomes["accepted"] += len(mine)
        self._label([*mine, *late])  # the last label of a key counts
        return sent_items

    def _pace(self, waiting: Sequence[SampleSubmission], unsent: int) -> Sequence[SampleSubmission]:
        """Wait, `PACED_S` at most, until at most `IN_FLIGHT` sent events are not admitted; return the items not admitted."""
        until = time.monotonic() + PACED_S
        while len(waiting) - unsent > IN_FLIGHT and time.monotonic() < until:
            time.sleep(PACED_S / 20)
            waiting = self._find_unadmitted(waiting)
        return waiting

    def send_file(self, path: Path, workload: str, layout: Layout, *, lines: int) -> SentItems:
        """Send every line through the file door, which admits it or refuses it with its number and a reason."""
        sent_items = SentItems()
        for admitted in admit_file(self._pool, path, workload, layout, now=self.now()):
            sent_items.keys.setdefault(workload, []).extend(admitted.keys)
            sent_items.outcomes += admitted.outcomes
            sent_items.bad += admitted.bad
            self._onlooker.show_count("read", sent_items.total + len(sent_items.bad), lines)
        return sent_items

    def follow(self, sent_items: SentItems) -> Counter[str]:
        """Follow the run's items until all have ended or no state has changed for three minutes; return their states."""
        states, changed_at, depart_run = Counter[str](), time.monotonic(), None
        movers = Movers(
            None, self._looks_every_s(), usual_time=not Settings.read().provider_is_local
        )
        while True:
            previous, states = states, self._states(sent_items)
            self._look(sent_items)
            self._onlooker.show_count("settled", sum(states[s] for s in OVER), sent_items.total)
            if sum(states[s] for s in OVER) >= sent_items.total and not (
                sent_items.scene and sent_items.scene.expects_more
            ):
                return states
            if states != previous:
                changed_at = time.monotonic()
            if time.monotonic() - changed_at > STALLED_AFTER_S:
                return states
            if depart_run is not None:
                depart_run = replace(depart_run, state=self._api.run_state(depart_run.run_id))
            if depart_run is None or depart_run.state in ENDED:
                depart_run = self.depart(sent_items)
            self._show_wait(
                partial(self.describe_open, sent_items, replace(movers, departing=depart_run))
            )
            time.sleep(POLL_S)

    def _look(self, sent_items: SentItems) -> None:
        """Let the scene act, and count the items that it enters as items of the run."""
        if sent_items.scene is not None and (submissions := sent_items.scene.look()):
            sent_items.add(submissions)
            sent_items.earlier += [each.key for each in submissions]
            sent_items.outcomes["accepted"] += len(submissions)
            self._label(submissions)

    def describe_open(self, sent_items: SentItems, movers: Movers | None = None) -> str:
        """Return a sentence on the open items of the run and the process that takes their next step."""
        with self._pool.begin() as connection:
            now = clock(connection)
            return sentence(
                story.look(connection, sent_items.keys, now=now), movers or Movers(), now=now
            )

    def depart(self, sent_items: SentItems) -> DepartRun | None:
        """Request a run of `depart` once batch work of this run may leave, and return it; None while no work may leave.

        If all waiting work belongs to this run's workloads, one run takes all of it: a run takes seconds to start, and the
        rest becomes ready in that time. Otherwise a run takes one workload, so that work of other workloads keeps its window.
        """
        with self._pool.begin() as connection:
            now = clock(connection)
            ready = self._ready_to_leave(connection, sent_items, now)
            waiting = (
                {*connection.execute(text(WAITING), {"now": now}).scalars()}
                if ready
                else set[str]()
            )
        if not ready:
            return None
        is_alone = waiting == {ready[0]} or not waiting <= sent_items.keys.keys()
        if (
            not is_alone
            and sent_items.scene is not None
            and any(map(sent_items.scene.holds_back, waiting))
        ):
            return None
        workload = ready[0] if is_alone else None
        return DepartRun(workload, self._api.run(runs.depart(workload)), "SCHEDULED")

    def _ready_to_leave(
        self, connection: Connection, sent_items: SentItems, now: datetime
    ) -> list[str]:
        return [
            workload
            for workload, keys in sent_items.keys.items()
            if not (sent_items.scene is not None and sent_items.scene.holds_back(workload))
            and connection.execute(
                text(WAITS_ALONE), {"workload": workload, "keys": keys, "now": now}
            ).scalar_one()
        ]

    def examples(self, sent_items: SentItems) -> list[AnswerExample]:
        """Return some real answers of the run, from every lane."""
        with self._pool.begin() as connection:
            found = [
                each
                for workload, keys in sent_items.keys.items()
                for each in listing.list_examples(
                    connection, workload, keys[:: 1 + len(keys) // LOOKED_AT]
                )
            ]
        return choose(found)

    def find_first_receipt(self, sent_items: SentItems) -> datetime:
        """Return when the first item of the run was received; before the run if its file was already sent earlier."""
        own = {key for keys in sent_items.keys.values() for key in keys} - set(sent_items.earlier)
        with self._pool.begin() as connection:
            first = connection.execute(
                text("select min(received_at) from lanes.item where key = any(:keys)"),
                {"keys": list(own)},
            ).scalar()
            return first or clock(connection)

    def snapshot(self, since: datetime) -> Snapshot:
        """Return the figures of everything received since that time."""
        with self._pool.begin() as connection:
            return snapshot.take(connection, since=since, now=clock(connection))

    def publish_report(self, figures: Snapshot, samples: Sequence[AnswerExample]) -> str:
        """Write both pages of the report as Prefect artifacts and return the id of the first.

        A run of `report` would write the same, but its process takes seconds to start.

        Raises:
            StandError: Prefect did not accept a page.
        """
        headline = summary.headline(figures)
        details = self._api.write_artifact(
            DETAILS, page.details_page(figures), description=f"Everything else: {headline}"
        )
        main = page.main_page(figures, samples, details_page=artifact_page(DETAILS, details))
        return self._api.write_artifact(REPORT, main, description=headline)

    def _show_wait(self, describe: Callable[[], str]) -> None:
        """Show the reason of the wait on the onlooker, at most once a second, because finding the reason costs queries."""
        if time.monotonic() - self._looked_at >= SAY_S:
            self._onlooker.show_wait(describe())
            self._looked_at = time.monotonic()

    def _looks_every_s(self) -> float | None:
        """Return the poll interval of open batches in seconds; None if Prefect's block, which is unvalidated, has no number."""
        with suppress(StandError):
            every_s = (self._api.block("lanes-provider", "lanes") or {}).get("poll_s")
            return every_s if isinstance(every_s, int | float) else None
        return None

    def _label(self, submissions: Sequence[SampleSubmission]) -> None:
        """Store the labels; of two labels with the same key the later one counts."""
        with self._pool.begin() as connection:
            for workload in {each.workload for each in submissions}:
                right = {
                    each.key: each.expected
                    for each in submissions
                    if each.workload == workload and each.expected
                }
                items.label(connection, workload, right, source="samples")

    def _find_unadmitted(self, waiting: Sequence[SampleSubmission]) -> list[SampleSubmission]:
        with self._pool.begin() as connection:
            rows = connection.execute(
                text("select workload, key from lanes.item where key = any(:keys)"),
                {"keys": [each.key for each in waiting]},
            )
            admitted = {(row.workload, row.key) for row in rows}
        return [each for each in waiting if (each.workload, each.key) not in admitted]

    def _states(self, sent_items: SentItems) -> Counter[str]:
        states: Counter[str] = Counter()
        with self._pool.begin() as connection:
            for workload, keys in sent_items.keys.items():
                rows = connection.execute(
                    text(
                        "select state, count(*) as items from lanes.item_status"
                        " where workload = :workload and key = any(:keys) group by state"
                    ),
                    {"workload": workload, "keys": keys},
                )
                for row in rows:
                    states[row.state] += row.items
        return states
