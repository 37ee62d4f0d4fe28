"""Two hosts behind PgBouncer, Valkey and two API replicas, each of which is killed or cut off in turn."""

import pytest

from tests.chaos.matrix import run_matrix
from tests.fleet import fleet, missing_programs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(bool(missing_programs()), reason=f"this machine lacks {missing_programs()}"),
]


def test_two_hosts_lose_double_and_repay_nothing() -> None:
    with fleet(faketime={"b": "+30s"}, latency_s="0.2") as running:
        report = run_matrix(running, 2_000, per_s=20)
        print(report.table())
    assert (report.lost, report.doubled, report.paid_twice) == (0, 0, 0)
