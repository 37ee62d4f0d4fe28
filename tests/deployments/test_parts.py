"""What a whole stand consists of once it is up; that nothing of it is left is asked whenever a test takes one down."""

from lanes.settings import Settings
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.runs_with import runs_with
from lanes.stand.status import Condition, components
from tests.running_stand import RunningStand

PARTS = {"postgres", "endpoint", "prefect-server", "worker-realtime", "worker-batch", "supervisor"}


def test_a_stand_comes_up_with_all_its_parts(stand: RunningStand) -> None:
    assert stand.started == PARTS
    found = components(runs_with(Settings.read(), stand.home), stand.home)
    assert {each.name: each.condition for each in found} == dict.fromkeys(PARTS, Condition.RUNNING)


def test_its_prefect_server_is_of_our_version_and_keeps_its_files_within_the_stand(
    stand: RunningStand,
) -> None:
    with PrefectApi.of_stand(stand.info) as api:
        assert api.version().startswith("3.9.")
        assert api.home() == str(stand.home / "prefect")
