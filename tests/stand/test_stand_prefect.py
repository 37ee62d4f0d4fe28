"""The real stand, without this project's own deployments: Postgres, schema, Prefect, pools and workers."""

from pathlib import Path

import pytest

from lanes.settings import Settings
from lanes.stand.doctor import examine
from lanes.stand.identity import birth_mark
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.stand import Stand
from lanes.stand.status import Condition, components
from lanes.stand.steps import all_steps
from lanes.stand.whereabouts import find_checkout


@pytest.mark.timeout(240)
def test_a_stand_comes_up_is_attached_to_and_goes_down_leaving_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANES_LOCAL_ENGINE", "echo")
    steps = [step for step in all_steps() if step.name not in ("install", "standing")]
    stand = Stand(Settings.read(), home, find_checkout(), steps=steps)
    try:
        first = stand.up()
        assert set(first.started) == {"postgres", "endpoint", "prefect-server", "worker-realtime", "worker-batch", "supervisor"}
        assert {each.condition for each in components(stand.settings, home)} == {Condition.RUNNING}
        well = {finding.check for finding in examine(stand.settings, home, stand.checkout) if finding.verdict == "ok"}
        assert {"database", "schema", "prefect", "workers", "provider"} <= well
        with PrefectApi(first.info.prefect_api_url) as api:
            assert api.version().startswith("3.9.")
            assert api.home() == str(home / "prefect")
        second = stand.up()
        assert second.started == ()
        assert second.info.processes == first.info.processes
    finally:
        ended = stand.down()
    assert ended[-1] == "postgres"
    assert [birth_mark(process.pid) for process in first.info.processes] == [None] * 5
    assert stand.processes.recorded() == []
