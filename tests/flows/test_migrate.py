"""Leading a rollout without a Prefect server: which run leads, what it decides, and what it refuses."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Connection, text

from flows.migrate import Order
from lanes.commands.actions import (
    AbortRollout,
    EndSplit,
    ExtendRollout,
    HoldRollout,
    Pause,
    PersonAction,
    PromoteRollout,
    Resume,
    SetSplit,
)
from lanes.errors import ActionRefused, PlaybookInvalid, UnknownWorkload
from lanes.promises.assessment import Assessment
from lanes.promises.incident import Promise
from lanes.rollouts.playbook import load, playbook_names
from lanes.rollouts.rollout import Advance, AskApproval, Finish, Hold, HoldReason, RollBack
from lanes.routing.split import Split, bucket
from lanes.store import incidents
from lanes.store.database import Database, clock
from lanes.store.rollouts import rollout_moves, rollouts
from lanes.store.workload import candidates, workloads
from lanes.words import Outcome, RolloutState, Verdict
from tasks.install import BROKEN, ENDED
from tasks.migrate import Lead, RolloutOrder, guarding, leading, read_playbook
from tasks.runs import refuse
from tests.conftest import NOON, later
from tests.examples import admit, publish, route, spec
from tests.prefect_standin import PrefectStandIn
from tests.rollouts import NAME, begin, playbook, step, write
from tests.store.tries import claim, home, save, submit, tried
from tests.waiting import until


def wanted(file: str, workload: str = "letters") -> RolloutOrder:
    return RolloutOrder(NAME, file, workload, None, "ada", "trial")


@pytest.fixture
def file(tmp_path: Path) -> str:
    return write(tmp_path, step(10), step(50))


@pytest.fixture
def quiet() -> Iterator[None]:
    with disable_run_logger():
        yield


@pytest.mark.usefixtures("quiet")
async def test_only_the_run_that_started_a_rollout_leads_it(database_url: str, file: str) -> None:
    mine, other = uuid4(), uuid4()
    async with Database(database_url) as db:
        await db.run(publish, now=NOON)
        async with leading(db, wanted(file), mine) as lead, leading(db, None, other) as second:
            assert lead is not None
            assert second is None
            assert lead.rollout.flow_run_id == mine


@pytest.mark.usefixtures("quiet")
async def test_a_replaced_run_continues_from_the_row(database_url: str, file: str) -> None:
    replacement = uuid4()
    async with Database(database_url) as db:
        await db.run(publish, now=NOON)
        async with leading(db, wanted(file), uuid4()) as first:
            assert first is not None
        Path(file).unlink()  # the row contains the text of the file
        async with leading(db, None, replacement) as second:
            assert second is not None
            assert second.rollout.id == first.rollout.id
        assert (await db.run(rollouts.find, first.rollout.id)).flow_run_id == replacement
        assert len(await db.run(rollouts.log, first.rollout.id)) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
async def test_a_resumed_run_finds_its_own_rollout_and_starts_no_second(
    database_url: str, file: str
) -> None:
    run_id = uuid4()
    async with Database(database_url) as db:
        await db.run(publish, now=NOON)
        for _ in range(2):
            async with leading(db, wanted(file), run_id) as lead:
                assert lead is not None
        assert len(await db.run(rollouts.list_open)) == 1


@pytest.mark.usefixtures("quiet")
async def test_a_rollout_that_cannot_start_is_refused_and_leaves_nothing(
    database_url: str, file: str
) -> None:
    async with Database(database_url) as db:
        await db.run(publish, now=NOON)
        with pytest.raises(UnknownWorkload, match='"ghosts"'):
            async with leading(db, wanted(file, "ghosts"), uuid4()):
                pass
        async with leading(db, wanted(file), uuid4()):
            with pytest.raises(ActionRefused, match="open rollout already"):
                async with leading(db, wanted(file), uuid4()):
                    pass
        assert len(await db.run(rollouts.list_open)) == 1


async def test_the_lane_that_receives_the_traffic_proves_itself_before_the_first_item_moves(
    database_url: str,
) -> None:
    def answered(connection: Connection) -> None:
        admit(connection, *(f"i{n}" for n in range(75)), now=NOON)
        route(connection, now=NOON)
        save(connection, *(tried(each) for each in claim(connection)))

    def came_back(connection: Connection) -> None:
        batch_id, works = submit(
            connection, workloads.read_versions(connection)["letters"], now=later(days=2)
        )
        at = later(seconds=9)
        save(connection, *(tried(each, at=at) for each in works), now=at, batch_id=batch_id)
        home(connection, batch_id, now=at)

    agree = {"measure": "agreement", "min": 0.8, "at_least": 5}
    steps = step(100, agree), step(50, agree)
    shadows = {"share": 1.0, "budget_usd": 1}
    async with Database(database_url) as db:
        await db.run(publish, now=NOON, split_percent=100)
        book = playbook(*steps, direction="realtime_to_batch", shadows=shadows)
        lead = Lead(db, await db.run(begin, book))
        await db.run(answered)
        assert isinstance(await lead.decide(later(seconds=2)), Hold)  # and owes the shadows
        await db.run(came_back)
        assert isinstance(await lead.decide(later(seconds=10)), Advance)


def tries(connection: Connection, outcome: Outcome, mark: str) -> None:
    admit(connection, *(f"{mark}{n}" for n in range(75)), now=NOON)
    route(connection, now=NOON)
    save(connection, *(tried(each, outcome, at=later(seconds=1)) for each in claim(connection)))


async def test_the_evidence_decides_whether_a_rollout_holds_finishes_or_rolls_back(
    database_url: str,
) -> None:
    async with Database(database_url) as db:
        await db.run(publish, now=NOON)
        lead = Lead(db, await db.run(begin, playbook(step(100))))
        few = await lead.decide(NOON)
        assert isinstance(few, Hold)
        assert few.reason is HoldReason.GATHERING
        await db.run(tries, Outcome.VALID, "well")
        assert isinstance(await lead.decide(later(seconds=2)), Finish)
        await db.run(tries, Outcome.INVALID, "ill")
        assert isinstance(await lead.decide(later(seconds=2)), RollBack)


async def test_a_sample_ratio_mismatch_holds_although_every_gate_passes(database_url: str) -> None:
    def answered(connection: Connection, among: range) -> None:
        names = (f"i{n}" for n in range(500))
        keys = [each for each in names if bucket("letters", entity=None, key=each) in among]
        admit(connection, *keys, now=later(seconds=20))
        route(connection, now=later(seconds=20))
        answers = (
            tried(each, at=later(seconds=21)) for each in claim(connection, now=later(seconds=20))
        )
        save(connection, *answers, now=later(seconds=21))

    async with Database(database_url) as db:
        await db.run(publish, now=NOON)
        lead = Lead(db, await db.run(begin, playbook(step(50))))
        await db.run(answered, range(5_000))
        held = await lead.decide(later(seconds=22))
        assert isinstance(held, Hold)
        assert held.reason is HoldReason.SAMPLE_RATIO
        assert "the split sends 50.00% to real time, but 100.00% of" in held.why
        await db.run(answered, range(5_000, 10_000))
        assert isinstance(await lead.decide(later(seconds=22)), Finish)


@pytest.mark.slow
async def test_a_rollout_holds_while_a_critical_incident_is_open_and_says_so_on_the_form(
    database_url: str,
) -> None:
    breach = Assessment(Promise.REALTIME_SLOW, "letters", Verdict.FAILED, 900, 5, 40, "It is slow.")

    def well(connection: Connection) -> None:
        admit(connection, *(f"k{n}" for n in range(75)), now=NOON)
        route(connection, now=NOON)
        save(connection, *(tried(each, at=later(seconds=1)) for each in claim(connection)))

    async with Database(database_url) as db:
        await db.run(publish, now=NOON)
        lead = Lead(db, await db.run(begin, playbook(step(100, approval=True))))
        await db.run(well)
        assert isinstance(await lead.decide(later(seconds=2)), AskApproval)
        await db.run(incidents.record, [breach], now=later(seconds=3))
        held = await lead.decide(later(seconds=4))
        assert isinstance(held, Hold)
        assert (held.reason, held.why) == (
            HoldReason.INCIDENT,
            "critical incident 1 is open: Real-time is slow",
        )
        assert "1 critical incident where its traffic goes" in await lead.question()
        over = replace(breach, verdict=Verdict.PASSED, value=1)
        await db.run(incidents.record, [over], now=later(minutes=20))
        assert isinstance(await lead.decide(later(minutes=21)), AskApproval)


@pytest.mark.slow
async def test_the_form_shows_the_current_gates_and_a_loss_while_it_waits_rolls_back(
    database_url: str, prefect: PrefectStandIn
) -> None:
    prefect.has_run("migrate", "PAUSED")
    (run,) = prefect.runs
    run.keys = {name: f"question-{name}" for name in ("schema", "response", "description")}
    form = run.id, "question-description"

    def answered(connection: Connection, mark: str, outcome: Outcome = Outcome.VALID) -> None:
        now = clock(connection)
        admit(connection, *(f"{mark}{n}" for n in range(75)), now=now)
        route(connection, now=now)
        tries = (tried(each, outcome, at=now) for each in claim(connection, now=now))
        save(connection, *tries, now=now)

    def waiting(connection: Connection) -> None:
        publish(connection, now=NOON)
        begun = begin(connection, playbook(step(100, approval=True)))
        rollouts.lead(connection, begun.id, UUID(run.id))
        rollout_moves.apply(connection, begun, AskApproval("trial"), [], now=clock(connection))

    async def says(words: str) -> None:
        await asyncio.to_thread(until, lambda: words in prefect.inputs.get(form, ""), within_s=20)

    async with Database(database_url) as db:
        await db.run(waiting)
        for number in (1, 2):
            await db.run(answered, f"set{number}-")
            async with guarding(db):
                await says(f"0 % of {75 * number} samples")
        (left,) = await db.run(rollouts.list_open)
        assert left.is_waiting
        await db.run(answered, "ill", Outcome.INVALID)
        async with guarding(db):
            await asyncio.to_thread(until, lambda: run.state == "CANCELLED", within_s=20)
        assert (await db.run(rollouts.find, left.id)).state is RolloutState.ROLLED_BACK
    assert {each["key"] for each in prefect.artifacts} == {"lanes-rollout-letters"}
    assert "### Plan" in prefect.artifacts[-1]["data"]


async def test_figures_that_cannot_be_read_hold_the_rollout_and_decide_nothing(
    database_url: str,
) -> None:
    async with Database(database_url) as db:
        await db.run(publish, now=NOON)
        lead = Lead(db, await db.run(begin, playbook(step(100))))
        await db.run(
            lambda connection: connection.execute(
                text("alter table lanes.attempt rename to elsewhere")
            )
        )
        with disable_run_logger():
            move = await lead.decide(NOON)
        assert isinstance(move, Hold)
        assert (await db.run(rollouts.find, lead.rollout.id)).state is RolloutState.RUNNING


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no file"),
        (b"name: \xff", "line 1: not UTF-8"),
        (b"#" * 300_000, "larger than 256 KiB"),
        (b"name: batch-to-realtime\nstep: 3\n", "line 2, step: no field has that name"),
    ],
)
def test_a_playbook_that_cannot_be_read_is_refused(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / f"{NAME}.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PlaybookInvalid, match=said):
        load(NAME, str(file))


@pytest.mark.usefixtures("quiet")
async def test_an_open_rollout_keeps_the_playbook_of_its_block_as_it_was(
    database_url: str, file: str, prefect: PrefectStandIn
) -> None:
    block = prefect.blocks[NAME] = {"content": Path(file).read_text()}
    async with Database(database_url) as db:
        await db.run(publish, now=NOON)
        async with leading(db, wanted(f"block:{NAME}"), uuid4()) as first:
            assert first is not None
        block["content"] = playbook(step(20)).model_dump_json()
        async with leading(db, None, uuid4()) as second:
            assert second is not None
            assert [each.percent for each in second.rollout.playbook.steps] == [10, 50]
        assert [each.percent for each in (await read_playbook(f"block:{NAME}")).steps] == [20]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("block:ghost", 'there is no block "ghost" of type Lanes playbook'),
        ("block:", "write block:NAME"),
        ("block:a/../b", "write block:NAME"),
        ("block:large", "the block is larger than 256 KiB"),
        ("block:empty", "line 1: a playbook is a mapping|a playbook is a mapping"),
        ("block:wrong", "line 2, step: no field has that name"),
        ("block:other", 'is not the name of its file or block, "other"'),
    ],
)
async def test_an_invalid_playbook_block_is_refused_like_a_file(
    prefect: PrefectStandIn, file: str, named: str, said: str
) -> None:
    texts = {
        "large": "#" * 300_000,
        "wrong": "name: wrong\nstep: 3\n",
        "other": Path(file).read_text(),
    }
    prefect.blocks |= {name: {"content": text} for name, text in texts.items()} | {"empty": {}}
    with pytest.raises(PlaybookInvalid, match=said):
        await read_playbook(NAME, named)


def test_the_ready_made_playbooks_are_found_by_name() -> None:
    assert load(NAME).name == NAME
    for other in ("ghost", f"../playbooks/{NAME}", "\x00", ""):
        with pytest.raises(PlaybookInvalid, match="there is no file of that name in migrations"):
            load(other)


def test_a_new_file_among_the_playbooks_is_a_playbook(tmp_path: Path) -> None:
    known = Path(write(tmp_path, step(20)))
    (tmp_path / "slowly.yaml").write_text(known.read_text().replace(NAME, "slowly"))
    assert playbook_names(tmp_path) == [NAME, "slowly"]
    assert load("slowly", folder=tmp_path).name == "slowly"


def test_an_action_of_a_person_is_performed_or_refused(connection: Connection) -> None:
    def act(kind: type[PersonAction], **given: Any) -> str:
        signed = {"workload": "letters", "who": "bob", "why": "trial"}
        return kind(**signed | given).perform(connection, NOON).message

    publish(connection, now=NOON)
    assert act(SetSplit, percent=12.5).startswith("letters: 12.5 %")
    assert workloads.splits(connection).of("letters", None).basis_points == 1_250
    workloads.set_split(connection, Split("letters", "desk", 300), who="bob", why="trial", now=NOON)
    inherits = act(EndSplit, consumer="desk")
    assert inherits.endswith("inherits the workload's split, 12.5 % to real-time, 3 % before")
    assert "is paused" in act(Pause)
    assert "is resumed" in act(Resume)
    with pytest.raises(UnknownWorkload):
        act(Pause, workload="ghosts")
    for kind in (AbortRollout, HoldRollout, PromoteRollout):
        with pytest.raises(ActionRefused, match="no open rollout"):
            act(kind)
    begin(connection, playbook(step(15), step(20, at_most_minutes=60)))
    assert act(PromoteRollout).startswith("letters: 20 % to real-time, step 2 of 2")
    assert act(ExtendRollout, hours=2).endswith(f"until {later(hours=3):%Y-%m-%d %H:%M} UTC")
    held = act(HoldRollout)
    assert held == "letters: 20 % to real-time, step 2 of 2, waits for approval"
    with pytest.raises(ActionRefused, match="waits for approval already"):
        act(HoldRollout)
    assert act(AbortRollout) == "letters: aborted at step 2 of 2, back to 12.5 % to real-time"


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"workload": "letters"}, "who and why"),
        ({"workload": "letters", "who": "ada"}, "who and why"),
        ({"workload": "letters", "who": " ", "why": "costs"}, "who and why"),
        ({"workload": "letters", "who": "ada", "why": "a \0 in it"}, "why"),
        ({"workload": "let\0ters", "who": "ada", "why": "costs"}, "workload"),
        ({"workload": "letters", "version": "v2", "who": "ada", "why": "costs"}, "version"),
    ],
)
def test_an_order_that_cannot_be_carried_out_is_refused_without_failing_its_run(
    order: dict[str, str], reason: str
) -> None:
    """Invalid parameters would fail the run, and a failed run of migrate is replaced by one without an order."""
    with pytest.raises(ActionRefused, match=reason) as raised:
        Order.model_validate(order).read_order()
    state = refuse(raised.value)
    assert f"prefect.flow-run.{state.name}" not in BROKEN
    assert f"prefect.flow-run.{state.name}" in ENDED


def test_every_value_that_the_schema_of_an_order_allows_is_valid() -> None:
    """Prefect checks a run's parameters against that schema and refuses to create the run."""
    schema = Order.model_json_schema()["properties"]
    for name, field in schema.items():
        most = field.get("maxLength")
        values = field.get("enum") or ["", " ", "\0", "x" * most]
        for value in values:
            Order.model_validate({name: value})


def stored(connection: Connection, now: datetime) -> None:
    """Publish version 1 of `letters` and store version 2 as its candidate."""
    publish(connection, now=now, split_percent=100)
    candidates.store(connection, "letters", spec(patience_s=5), now=now)


async def test_a_version_playbook_starts_only_for_the_named_candidate(
    database_url: str, tmp_path: Path
) -> None:
    (folder := tmp_path / "moving").mkdir()
    moving = write(folder, step(100), direction="version")
    file = write(tmp_path, step(10), step(50))
    async with Database(database_url) as db:
        await db.run(stored, NOON)
        for order, why in (
            (wanted(moving), "moves a new version"),
            (replace(wanted(moving), version=3), "is not its candidate, which is version 2"),
            (replace(wanted(file), version=2), "between the lanes, not to a version"),
        ):
            with disable_run_logger(), pytest.raises(ActionRefused, match=why):
                async with leading(db, order, uuid4()):
                    pass
