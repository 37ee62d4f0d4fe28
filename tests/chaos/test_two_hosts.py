"""Two hosts behind PgBouncer, Valkey and two API replicas: each is killed or cut off in turn, and both share their limits."""

import time
from collections.abc import Iterator
from decimal import Decimal
from uuid import uuid4

import pytest

from lanes.client import Lanes
from lanes.realtime.circuit import LONGEST_REST_S
from tests.chaos.matrix import WORKLOAD, run_matrix
from tests.fleet import Fleet, fleet, missing_programs
from tests.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(bool(missing_programs()), reason=f"this machine lacks {missing_programs()}"),
]
OUTAGE_S = 20
SENT_A_SECOND = 20
CLAIMANTS = "select distinct claimed_by from lanes.work where state = 'claimed'"
ANSWERED = "select count(*) from lanes.item where key like :some and answered_at is not null"
CLAIMED = "select count(*) from lanes.work where state = 'claimed'"
OPEN = "select count(*) from lanes.outage where over_at is null"
SPENT = "select spent_usd + unknown_usd from lanes.budget_status where workload = :workload"
REFUSED = "select refused_at is not null from lanes.budget_status where workload = :workload"


def test_two_hosts_lose_no_item_answer_none_twice_and_pay_none_twice() -> None:
    with fleet(faketime={"b": "+30s"}, latency_s="0.2") as running:
        report = run_matrix(running, 2_000, per_s=SENT_A_SECOND)
        print(report.table())
    assert (report.lost, report.doubled, report.paid_twice) == (0, 0, 0)
    assert report.unstored <= SENT_A_SECOND  # Prefect flushes its events once a second


@pytest.fixture(scope="module")
def two_hosts() -> Iterator[Fleet]:
    """Start two hosts whose clocks differ by 30 seconds, and wait until the drains of both answer.

    An open session does not prove that: on a busy machine, a new drain made its first claim ten seconds after it opened one.
    The rate limit applies from the first call, because drains that know of no limit have up to 320 calls in flight.
    """
    with fleet(faketime={"b": "+30s"}, latency_s="0.5", LANES_KEEP_WARM="2") as running:
        limit_requests(running, 240)
        until(
            lambda: wait_for_answers(running, send(running, 200), 200) == {"a", "b"},
            what="answers of a drain on each host",
        )
        yield running


def limit_requests(running: Fleet, a_minute: int | None) -> None:
    """Set the provider's rate limit; None removes it."""
    settings = {"requests_per_minute": a_minute}
    running.view.endpoint.post("_control/settings", json=settings).raise_for_status()


def send(running: Fleet, items: int) -> str:
    """Submit items to real-time, and return the LIKE pattern of their keys."""
    word = uuid4().hex[:8]
    keys = [f"{word}-{nth:04d}" for nth in range(items)]
    inputs = [
        {"key": key, "payload": {"text": f"Letter {key}"}, "lane": "realtime"} for key in keys
    ]
    with Lanes(running.view.environment["LANES_DATABASE_URL"]) as lanes:
        lanes.submit_many(WORKLOAD, inputs)
    return f"{word}-%"


def wait_for_answers(running: Fleet, some: str, items: int) -> set[str]:
    """Wait until the items are answered, and return the hosts that claimed work meanwhile."""
    seen: set[str] = set()

    def answered() -> bool:
        seen.update(row.claimed_by.partition(":")[0] for row in running.view.rows(CLAIMANTS))
        return running.view.value(ANSWERED, some=some) == items

    until(answered, what="every answer")
    return seen


def test_both_hosts_answer_and_share_one_rate_limit_of_the_provider(two_hosts: Fleet) -> None:
    hosts = wait_for_answers(two_hosts, send(two_hosts, 400), 400)
    limit_requests(two_hosts, None)
    assert hosts == {"a", "b"}
    assert two_hosts.view.endpoint.get("_control/limits").json()["refused"] == 0


def test_both_hosts_share_one_circuit(two_hosts: Fleet) -> None:
    endpoint = two_hosts.view.endpoint
    down = {"where": "messages", "kind": "status", "status": 529}
    endpoint.post("_control/faults", json=down).raise_for_status()
    some = send(two_hosts, 100)
    until(lambda: two_hosts.view.value(OPEN) == 1, what="an open circuit")
    until(
        lambda: two_hosts.view.value(CLAIMED) <= 1,
        what="the end of what was in flight",
    )
    before = asked(two_hosts)
    time.sleep(OUTAGE_S)
    assert 2 <= asked(two_hosts) - before <= 3 + OUTAGE_S / LONGEST_REST_S
    endpoint.delete("_control/faults").raise_for_status()
    wait_for_answers(two_hosts, some, 100)


def test_both_hosts_share_one_budget(two_hosts: Fleet) -> None:
    set_budget(two_hosts, 1_000)
    before = two_hosts.view.value(SPENT, workload=WORKLOAD)  # by the tests above, on the same day
    set_budget(two_hosts, before + 1)
    send(two_hosts, 400)
    until(
        lambda: two_hosts.view.value(REFUSED, workload=WORKLOAD),
        what="a refused claim",
    )
    until(lambda: not two_hosts.view.value(CLAIMED), what="the end of the calls")
    assert before < two_hosts.view.value(SPENT, workload=WORKLOAD) <= before + 1


def set_budget(running: Fleet, hard_usd: Decimal | int) -> None:
    """Set the hard limit of the workload's daily budget."""
    done = running.lanes("budget", WORKLOAD, "--hard", str(hard_usd), "--why", "a trial")
    assert done.returncode == 0, done.stdout + done.stderr


def asked(running: Fleet) -> int:
    """Return how many calls the outage has refused."""
    return sum(rule["hits"] for rule in running.view.endpoint.get("_control/faults").json()["data"])
