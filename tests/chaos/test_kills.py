"""Runs killed with SIGKILL while they work: only time is lost. No item is lost or answered twice, no batch is paid twice.

The module has its own stand, so that the traces of a crash in the ledger disturb no other test. `tests/e2e/test_playbooks.py`
kills `migrate`, because its rollout is there.
"""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from tests.earlier import batch_that_left
from tests.running_stand import RunningStand, put_up, take_down
from tests.slack_standin import SlackStandIn
from tests.waiting import until

pytestmark = pytest.mark.slow


class Prey(RunningStand):
    """A stand whose runs are killed."""

    def pid(self, flow: str) -> int | None:
        """Return the id of the living process of a flow's newest running run."""
        asked = {
            "flows": {"name": {"any_": [flow]}},
            "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}},
            "sort": "START_TIME_DESC",
            "limit": 5,
        }
        found = self.prefect.post("flow_runs/filter", json=asked).raise_for_status().json()
        pids = [each["infrastructure_pid"] for each in found if each["infrastructure_pid"]]
        return next((pid for pid in map(_number, pids) if _lives(pid)), None)

    def kill(self, flow: str) -> int:
        """Kill the run and return its process id."""
        pid = until(lambda: self.pid(flow), what=f"a run of {flow}")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return pid

    def put(self, workload: str, number: int, word: str, **fields: Any) -> list[str]:
        """Admit items through the SQL door, and return their keys."""
        keys = [f"{word}-{number:04d}" for number in range(number)]
        given = {"urgent": False, "lane": None, **fields}
        with self.pool.begin() as connection:
            told = connection.execute(
                text(
                    "select lanes.submit(:w, jsonb_build_object('text', 'Paper ' || k, 'title', k), key => k,"
                    " urgent => :urgent, lane => :lane) as said from unnest(cast(:keys as text[])) k"
                ),
                {"w": workload, "keys": keys, **given},
            )
            assert {each.said for each in told} == {"accepted"}
        return keys

    def states(self, word: str) -> Counter[str]:
        """Count the items with this key prefix by state."""
        counted = (
            "select state, count(*) as items from lanes.item_status where key like :k group by 1"
        )
        rows = self.rows(counted, k=f"{word}-%")
        return Counter({each.state: each.items for each in rows})

    def fault(self, where: str, kind: str, **fields: Any) -> None:
        """Let the provider misbehave."""
        self.endpoint.post(
            "_control/faults", json={"where": where, "kind": kind, **fields}
        ).raise_for_status()

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults in force, with their hits."""
        return self.endpoint.get("_control/faults").json()["data"]

    def heal(self) -> None:
        """Let the provider behave again."""
        self.endpoint.delete("_control/faults").raise_for_status()


def _number(pid: str) -> int:
    return int(pid.rpartition(":")[2])


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def prey(open_folder: Path, messages: SlackStandIn) -> Iterator[Prey]:
    up = put_up(open_folder / "prey", **messages.environment())
    stand = Prey(**vars(up))
    yield stand
    take_down(stand)


@pytest.fixture(autouse=True)
def healed(prey: Prey) -> Iterator[None]:
    yield
    prey.heal()


def test_a_killed_drain_loses_no_item_and_repeats_at_most_its_calls_in_flight(prey: Prey) -> None:
    prey.fault("messages", "latency", latency_s=2)
    keys = prey.put("tickets", 60, word := uuid4().hex[:8], urgent=True)
    until(
        lambda: prey.states(word)["answered"] > 0 and prey.states(word)["working"] > 0,
        what="work half done",
    )
    held = "select distinct claimed_by from lanes.work where state = 'claimed'"
    dead = [each.claimed_by for each in prey.rows(held)]
    for name in dead:
        os.kill(_number(name), signal.SIGKILL)
    orphaned = prey.value(
        "select count(*) from lanes.work where state = 'claimed' and claimed_by = any(:d)", d=dead
    )
    assert orphaned > 0
    prey.heal()
    until(lambda: prey.pid("answer"), what="the drain that replaces it")
    until(lambda: prey.states(word)["answered"] == len(keys), what="every answer")
    results = "select count(*), count(distinct item_id) from lanes.result join lanes.item i on i.id = item_id where key like :k"
    assert tuple(prey.rows(results, k=f"{word}-%")[0]) == (len(keys), len(keys))
    unknown = "select count(*) from lanes.attempt_log where key like :k and outcome = 'unknown'"
    assert 0 < prey.value(unknown, k=f"{word}-%") <= orphaned
    assert (
        prey.endpoint.get(f"_control/texts?contains={word}").json()["responses"]
        <= len(keys) + orphaned
    )


def test_a_depart_killed_while_the_provider_creates_its_batch_pays_the_batch_once(
    prey: Prey,
) -> None:
    prey.fault("batches.create", "latency", latency_s=3)
    keys = prey.put("archive", 200, word := uuid4().hex[:8], lane="batch")
    until(lambda: prey.states(word)["routed"] == len(keys), what="the routes")
    prey.run("depart", {"departure": {"workload": "archive"}})
    until(lambda: prey.faults()[0]["hits"], what="the create")
    prey.kill("depart")
    intended = "select count(*) from lanes.batch where state = 'intended'"
    assert prey.value(intended) == 1
    until(lambda: not prey.value(intended), what="the truth about the create")
    until(lambda: prey.states(word)["settled"] == len(keys), what="every answer")
    newest = prey.rows(
        "select items, requests from lanes.batch_status order by batch_id desc limit 1"
    )[0]
    assert newest.items == len(keys)
    assert (
        prey.endpoint.get(f"_control/texts?contains={word}").json()["responses"] == newest.requests
    )


def test_a_killed_collect_applies_every_result_once(prey: Prey) -> None:
    keys = prey.put("archive", 4_000, word := uuid4().hex[:8], lane="batch")
    until(lambda: prey.states(word)["routed"] == len(keys), what="the routes")
    prey.run("depart", {"departure": {"workload": "archive"}})
    until(lambda: 0 < prey.states(word)["settled"] < len(keys), what="a batch half applied")
    prey.kill("collect")
    until(lambda: prey.states(word)["settled"] == len(keys), what="the rest of it")
    of_ours = "from lanes.attempt_log where key like :k and purpose = 'answer'"
    tries = f"select count(*) as tries, count(distinct key) as items {of_ours}"
    assert tuple(prey.rows(tries, k=f"{word}-%")[0]) == (len(keys), len(keys))
    # The batch may also contain requests that check the packs of other items.
    batch_of_ours = f"(select min(batch_id) {of_ours})"
    carried = f"select state, items, succeeded, missing from lanes.batch_status where batch_id = {batch_of_ours}"
    until(
        lambda: prey.rows(carried, k=f"{word}-%")[0].state == "collected",
        what="the end of the batch",
    )
    (batch,) = prey.rows(carried, k=f"{word}-%")
    assert batch.succeeded == batch.items >= len(keys)
    assert batch.missing == 0


def test_a_watch_killed_twice_posts_one_message_and_edits_it_on_resolution(
    prey: Prey, messages: SlackStandIn
) -> None:
    prey.fault("batches.create", "stall")
    batch = batch_that_left(prey, "archive", uuid4().hex[:8], hours=3)
    opened = (
        "select incident_id from lanes.incident_log where promise = 'batch_slow' and subject = :s"
    )
    incident = until(lambda: prey.value(opened, s=f"batch {batch}"), what="the incident")
    prey.kill("watch")
    (said,) = until(lambda: messages.about(incident), what="the message")
    prey.kill("watch")
    prey.heal()
    until(lambda: said.text.startswith(":white_check_mark: Resolved"), what="the edit")
    assert messages.about(incident) == [said]


def test_after_the_kills_the_ledger_and_the_providers_bill_agree_up_to_lost_answers(
    prey: Prey,
) -> None:
    """Run last: the bill lies between `spend` and `spend` plus the bound of lost answers; for batches both agree exactly."""
    over = "select count(*) = 0 from lanes.work where state in ('claimed', 'submitted')"
    until(lambda: prey.value(over), what="the end of what is under way")
    bill = prey.endpoint.get("_control/bill").json()
    spend = prey.rows(
        "select count(*) as responses, coalesce(sum(cost_usd), 0) as usd from lanes.spend"
    )[0]
    bound = prey.value(
        "select coalesce(sum(bound_usd), 0) from lanes.attempt where outcome = 'unknown'"
    )
    assert spend.usd <= Decimal(bill["usd"]) <= spend.usd + bound
    unknown = prey.value("select count(*) from lanes.attempt where outcome = 'unknown'")
    assert spend.responses <= bill["responses"] <= spend.responses + unknown
    listed = prey.endpoint.get("v1/messages/batches?limit=100", headers={"x-api-key": "x"}).json()[
        "data"
    ]
    ours = {
        each.provider_batch_id
        for each in prey.rows("select provider_batch_id from lanes.batch_status")
    }
    assert {each["id"] for each in listed} == ours - {None}
    of_batches = "select count(*) from lanes.spend where batch_id is not null"
    assert prey.value(of_batches) == sum(each["request_counts"]["succeeded"] for each in listed)
    twice = "select item_id from lanes.result group by item_id, generation, revision, standing having count(*) > 1"
    assert prey.rows(twice) == []
