"""The smoke test of `make test`: a stand starts, answers, settles through a batch, and its ledger equals the bill."""

from uuid import uuid4

from lanes.settings import Settings
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.runs_with import runs_with
from lanes.stand.status import Condition, components
from tests.running_stand import RunningStand
from tests.waiting import until

PARTS = {"postgres", "endpoint", "prefect-server", "worker-realtime", "worker-batch", "supervisor"}


def test_a_stand_starts_with_all_its_parts_running(stand: RunningStand) -> None:
    assert stand.started == PARTS
    found = components(runs_with(Settings.read(), stand.home), stand.home)
    assert {each.name: each.condition for each in found} == dict.fromkeys(PARTS, Condition.RUNNING)


def test_the_prefect_server_has_version_3_9_and_its_home_in_the_stand(
    stand: RunningStand,
) -> None:
    with PrefectApi.from_stand(stand.info) as api:
        assert api.version().startswith("3.9.")
        assert api.home() == str(stand.home / "prefect")


def test_items_on_both_lanes_settle_through_a_batch_and_the_ledger_equals_the_bill(
    stand: RunningStand,
) -> None:
    lanes = {f"smoke-{uuid4().hex[:8]}": ["batch", "realtime"][n % 2] for n in range(6)}
    urgent = f"smoke-{uuid4().hex[:8]}"
    stand.emit("tickets", {"key": urgent, "payload": {"text": "The app crashes."}, "urgent": True})
    for key, lane in lanes.items():
        payload = {"text": f"Where is parcel {key}?"}
        stand.emit("tickets", {"key": key, "payload": payload, "lane": lane})

    until(lambda: stand.state("tickets", urgent) == "answered", what="the provisional answer")
    status = "select lane, route_reason, attempts from lanes.item_status where key = :k"
    assert [tuple(each) for each in stand.rows(status, k=urgent)] == [("realtime", "urgent", 1)]
    owed = (
        "select w.purpose, w.lane from lanes.work w join lanes.item_status i using (item_id)"
        " where i.key = :k and w.state = 'ready'"
    )
    assert [tuple(each) for each in stand.rows(owed, k=urgent)] == [("authoritative", "batch")]

    keys = [urgent, *lanes]
    until(
        lambda: all(stand.state("tickets", k) in ("answered", "routed") for k in keys),
        what="routes and answers",
    )
    stand.run("depart", {"departure": {"workload": "tickets"}})
    until(
        lambda: all(stand.state("tickets", k) == "settled" for k in keys),
        what="settling",
    )
    results = "select distinct standing, lane from lanes.current_results where key = any(:k)"
    assert [tuple(each) for each in stand.rows(results, k=keys)] == [("authoritative", "batch")]
    open_batches = "select count(*) from lanes.batch_status where state <> 'collected'"
    until(lambda: not stand.value(open_batches), what="the end of the batch")
    assert stand.value("select sum(missing) from lanes.batch_status") == 0
    until(lambda: stand.events("lanes.batch.ended"), what="the event of the batch")

    assert stand.value("select sum(cost_usd) from lanes.attempt_log") == stand.value(
        "select sum(cost_usd) from lanes.spend"
    )
    until(lambda: is_paid_as_billed(stand), within_s=20, what="agreement of bill and ledger")


def is_paid_as_billed(stand: RunningStand) -> bool:
    """Return whether the ledger contains every response of the endpoint at its price."""
    bill = stand.endpoint.get("_control/bill").json()
    (spent,) = stand.rows("select count(*), coalesce(sum(cost_usd), 0) as usd from lanes.spend")
    return bill["responses"] == spent.count and abs(float(bill["usd"]) - float(spent.usd)) < 1e-9
