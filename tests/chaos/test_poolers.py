"""A stand that reaches Postgres through PgBouncer: every owed attempt is made once and paid once."""

from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine

from tests.arrivals import arrive
from tests.e2e.test_smoke import is_paid_as_billed
from tests.poolers import needs_pgbouncer, pooler
from tests.running_stand import put_up, take_down
from tests.waiting import until

pytestmark = [pytest.mark.slow, needs_pgbouncer]
IN_REALTIME, IN_BATCHES = 40, 20
ATTEMPTED = 2 * IN_REALTIME + IN_BATCHES  # a batch also settles each real-time answer
ATTEMPTS = "select outcome, count(*) from lanes.attempt_log group by outcome"
NAMES = """
    select distinct split_part(application_name, '@', 1) from pg_stat_activity
     where datname = current_database() and application_name like 'lanes %'
"""


@pytest.mark.parametrize(("mode", "size"), [("transaction", 10), ("session", 90)])
def test_every_owed_attempt_is_made_and_paid_once_through_a_pooler(
    open_folder: Path, own_database_url: str, mode: str, size: int
) -> None:
    with pooler(own_database_url, open_folder, mode=mode, size=size) as pooled:
        addresses = {"LANES_DATABASE_URL": pooled, "LANES_DIRECT_DATABASE_URL": own_database_url}
        stand = put_up(open_folder / f"pooled-{mode}", **addresses)
        stand.pool = create_engine(own_database_url)
        try:
            assert stand.cli("up", "--samples").returncode == 0
            keys = [f"{uuid4().hex[:8]}-{nth}" for nth in range(IN_BATCHES)]
            for key in keys:
                payload = {"text": f"Letter {key}"}
                stand.emit("tickets", {"key": key, "payload": payload, "lane": "batch"})
            arrive(stand, "tickets", IN_REALTIME, per_s=10, fields=lambda _: {"lane": "realtime"})
            until(
                lambda: all(stand.state("tickets", key) == "routed" for key in keys),
                what="routes",
            )
            stand.run("depart", {"departure": {"workload": "tickets"}})
            until(
                lambda: all(stand.state("tickets", key) == "settled" for key in keys),
                what="settling",
            )
            until(lambda: is_paid_as_billed(stand), within_s=20, what="agreement with the bill")
            assert dict(map(tuple, stand.rows(ATTEMPTS))) == {"valid": ATTEMPTED}
            assert {"lanes answer", "lanes router", "lanes keeper", "lanes listen"} <= {
                each[0] for each in stand.rows(NAMES)
            }
            assert "without pooler at" in stand.cli("doctor").stdout
        finally:
            take_down(stand)
