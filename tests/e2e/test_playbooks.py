"""A playbook on live traffic: steps, a crash, an approval through Prefect's API, and a failure that rolls it back."""

import os
import signal
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from lanes.routing.split import Split, bucket
from lanes.statistics.shares import clean_samples
from lanes.store.database import clock
from lanes.store.workload import workloads
from tests.rollouts import step, write
from tests.running_stand import RunningStand
from tests.waiting import until

ALPHA = 0.2  # of a rollout: four gates of 5 % each, which pass or fail with few items
ERRORS = {"measure": "error_rate", "max": 0.5, "at_least": 3}
FAST = {"measure": "p95_s", "max": 60, "at_least": 3}
FEW = clean_samples(0.5, alpha=ALPHA / 4)  # items without errors that pass a gate on errors
MANY = clean_samples(0.05, alpha=ALPHA / 4)  # items that pass a gate on the p95
TICKETS = "block_types/slug/lanes-workload/block_documents/name/tickets"

pytestmark = pytest.mark.slow


class Traffic:
    """One consumer's tickets, whose keys fall into a chosen range of the split's buckets (in percent)."""

    def __init__(self, stand: RunningStand) -> None:
        self.stand = stand
        self.consumer = f"e2e-{uuid4().hex[:8]}"

    def starts_in_batch(self) -> None:
        """Set the consumer's split to 0 %, so that all its undecided items go to batch."""
        with self.stand.pool.begin() as connection:
            split = Split("tickets", self.consumer, 0)
            workloads.set_split(
                connection, split, who="e2e", why="before the trial", now=clock(connection)
            )

    def send(
        self, number: int, *, above: int = 0, below: int = 100, text: str = "Where is my parcel?"
    ) -> None:
        """Send `number` tickets to Prefect whose buckets lie from `above` to below `below` percent."""
        sent = 0
        while sent < number:
            key = f"{self.consumer}-{uuid4().hex[:8]}"
            if above * 100 <= bucket("tickets", entity=None, key=key) < below * 100:
                payload = {
                    "key": key,
                    "payload": {"text": f"{text} {key}"},
                    "consumer": self.consumer,
                }
                self.stand.emit("tickets", payload)
                sent += 1

    def share(self) -> float:
        """Return the consumer's share to real-time, in percent."""
        newest = "select basis_points from lanes.split where consumer = :c order by id desc limit 1"
        return self.stand.value(newest, c=self.consumer) / 100

    def row(self) -> Any:
        """Return the consumer's newest rollout."""
        newest = "select * from lanes.rollout where consumer = :c order by id desc limit 1"
        found = self.stand.rows(newest, c=self.consumer)
        return found[0] if found else None

    def stands_at(self, number: int, state: str = "running") -> bool:
        """Return whether the rollout is at step `number`, counted from 0, in `state`."""
        row = self.row()
        return row is not None and (row.step, row.state) == (number, state)


def promised_percent(stand: RunningStand) -> float:
    """Return the largest error rate, in percent, that the current version of tickets promises."""
    with stand.pool.begin() as connection:
        return workloads.read_versions(connection)[
            "tickets"
        ].spec.promises.realtime_max_error_percent


def promise(stand: RunningStand, percent: float) -> None:
    """Edit the promised error rate as Prefect's UI does, and wait until it is in force."""
    block = stand.prefect.get(TICKETS).raise_for_status().json()
    promises = {**block["data"].get("promises", {}), "realtime_max_error_percent": percent}
    edited = {"data": {**block["data"], "promises": promises}}
    stand.prefect.patch(f"block_documents/{block['id']}", json=edited).raise_for_status()
    until(lambda: promised_percent(stand) == percent, what="the edited promise")


@pytest.fixture
def traffic(stand: RunningStand) -> Iterator[Traffic]:
    percent = promised_percent(stand)
    promise(
        stand, 0
    )  # a promise broken by one test would hold later rollouts for a quarter of an hour
    yield Traffic(stand)
    promise(stand, percent)
    stand.endpoint.delete("_control/faults").raise_for_status()


def flow_run(stand: RunningStand, run_id: object) -> dict[str, Any]:
    return stand.prefect.get(f"flow_runs/{run_id}").raise_for_status().json()


def state_of(stand: RunningStand, run_id: object) -> str:
    return flow_run(stand, run_id)["state_type"]


def answer(stand: RunningStand, run_id: object, **given: object) -> str:
    """Submit a filled-in form once Prefect has its schema (just after the run is suspended), and return the status."""

    def told() -> str | None:
        asked = (
            stand.prefect.post(f"flow_runs/{run_id}/resume", json={"run_input": given})
            .raise_for_status()
            .json()
        )
        return None if "schema not found" in str(asked["details"]) else asked["status"]

    until(lambda: state_of(stand, run_id) == "PAUSED", what="the suspension")
    answered = until(told, what="the form")
    assert answered is not None
    return answered


def order(traffic: Traffic, file: str) -> str:
    signed = {
        "workload": "tickets",
        "consumer": traffic.consumer,
        "who": "ada",
        "why": "e2e",
        "file": file,
    }
    return traffic.stand.run("migrate", {"order": signed})


def message(stand: RunningStand, run_id: str) -> str:
    """Wait until the run is refused, and return the reason."""
    state = until(
        lambda: (run := flow_run(stand, run_id))["state_type"] == "FAILED" and run["state"],
        what="refusal",
    )
    assert state["name"] == "Refused"
    return state["message"]


def test_a_playbook_moves_live_traffic_survives_a_crash_asks_approval_and_rolls_back(
    stand: RunningStand, traffic: Traffic
) -> None:
    steps = (
        step(10, ERRORS, items=FEW),
        step(50, ERRORS, FAST, items=FEW, approval=True),
        step(100, ERRORS, items=FEW),
    )
    file = write(stand.home, *steps, alpha=ALPHA)
    traffic.starts_in_batch()
    first_run = order(traffic, file)
    until(lambda: traffic.stands_at(0), what="the start")
    assert traffic.share() == 10
    pid = int(
        until(
            lambda: flow_run(stand, first_run)["infrastructure_pid"], what="its process"
        ).rpartition(":")[2]
    )
    os.kill(pid, signal.SIGKILL)
    until(lambda: str(traffic.row().flow_run_id) != first_run, what="the replacement")
    refused = order(traffic, file)

    for _ in range(FEW):  # in the expected ratio of the split: any other ratio holds the step
        traffic.send(9, above=10)
        traffic.send(1, below=10)
    until(lambda: traffic.stands_at(1), what="the second step")
    assert traffic.share() == 50
    for _ in range(MANY + 5):
        traffic.send(1, above=50)
        traffic.send(1, above=10, below=50)
    until(lambda: traffic.stands_at(1, "waiting_approval"), what="the question")

    leader = traffic.row().flow_run_id
    assert answer(stand, leader, approve="perhaps", who="bob", why="well") == "REJECT"
    assert answer(stand, leader, approve=True, who="   ", why="well") == "ACCEPT"
    until(lambda: traffic.row().asked == 2, what="the second question")
    assert traffic.share() == 50
    assert answer(stand, leader, approve=True, who="bob", why="well") == "ACCEPT"
    until(lambda: traffic.stands_at(2), what="the third step")
    assert traffic.share() == 100

    word = uuid4().hex
    fault = {"where": "messages", "kind": "invalid_output", "match": word}
    stand.endpoint.post("_control/faults", json=fault).raise_for_status()
    traffic.send(2 * FEW, text=word)
    until(lambda: traffic.row().state == "rolled_back", what="the way back")
    assert traffic.share() == 0
    until(lambda: state_of(stand, leader) == "COMPLETED", what="the end of its run")

    told = [
        each.event
        for each in stand.rows(
            "select event from lanes.rollout_log where consumer = :c order by at",
            c=traffic.consumer,
        )
    ]
    assert [each for each in told if each != "held"] == [
        "started",
        "stepped",
        "approval_asked",
        "approval_asked",
        "approved",
        "stepped",
        "rolled_back",
    ]
    assert 'workload "tickets" has an open rollout already' in message(stand, refused)
    artifact = stand.prefect.get("artifacts/lanes-rollout-tickets/latest").raise_for_status().json()
    assert "rolled back at step 3 of 3, back to 0 %" in artifact["description"]
    assert "❌\u00a0failed" in artifact["data"]
    until(lambda: stand.events("lanes.rollout.rolled_back"), what="the event")
