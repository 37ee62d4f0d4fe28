"""The main job with the ready-made items, whole: what its report and its advice have to say something about did happen."""

import pytest

from tests.running_stand import RunningStand

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_run_of_the_samples_reads_amends_corrects_meets_due_times_and_rescues(stand: RunningStand) -> None:
    done = stand.cli("run", "--once")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    run = stand.value("select max(substring(key from 8)) from lanes.item where key like 'T-0213-%'")
    rescued = stand.rows(
        "select i.key, i.answered_at <= i.due_at as met from lanes.item_status i"
        " join lanes.route_log r using (workload, key) where r.reason = 'rescue' and i.key like :run", run=f"%-{run}",
    )  # fmt: skip
    assert sorted((each.key, each.met) for each in rescued) == [(f"C-006{n}-{run}", True) for n in (1, 2)]
    readers = stand.rows("select distinct reader from lanes.read r join lanes.item i on i.id = r.item_id where i.key like :run",
                         run=f"%-{run}")  # fmt: skip
    assert {each.reader for each in readers} == {"support-desk", "page", "appeals"}
    amended = stand.rows("select key from lanes.item where revision > 0 and key like :run order by 1", run=f"%-{run}")
    assert [each.key for each in amended] == [f"T-000{n}-{run}" for n in (2, 3)]
    assert stand.value("select count(*) from lanes.correction_log where key like :run", run=f"%-{run}") > 0
    due = "select count(*) from lanes.route_log where reason = 'deadline' and key like :run"
    assert stand.value(due, run=f"%-{run}") == 2
    calls = "select count(distinct a.request_id) from lanes.attempt_log a where workload = 'moderation' and lane = 'realtime'" \
            " and key like :run"  # fmt: skip
    assert stand.value(calls, run=f"%-{run}") <= 20
    assert stand.value("select count(*) from lanes.item_status where state <> 'settled' and key like :run", run=f"%-{run}") == 0
    for title in ("Deadlines", "Rescued from late batches", "Late data", "Reads of real-time answers", "Calls and packing"):
        assert title in done.stdout
