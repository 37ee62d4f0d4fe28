"""The workers of all hosts, as Prefect lists them, with the report of each host's supervisor in its database session name."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lanes.errors import StandError
from lanes.realtime.drains import POOL
from lanes.stand.local import POOLS
from lanes.stand.prefect_api import PrefectApi
from lanes.store.asking import Ask

MOST_OFFSET_S = 5.0  # between a host's clock and that of Postgres
# Keep the last characters, which distinguish pods: Postgres truncates the name of a session to 63 bytes.
LONGEST_HOST = 32
SESSION = re.compile(r"lanes@(?P<host>\S+) (?P<release>\S+) (?P<offset>[+-]\d+\.\d)s")
SESSIONS = """
    select application_name as name from pg_stat_activity
     where datname = current_database() and application_name like 'lanes@%'
"""


@dataclass(frozen=True)
class HostReport:
    """A supervisor's report about its host: the release of Lanes, and the seconds by which its clock is ahead of Postgres."""

    host: str
    release: str
    offset_s: float

    @property
    def session(self) -> str:
        """The name of the supervisor's database session, which encodes the report."""
        offset = round(max(-9_999.0, min(self.offset_s, 9_999.0)), 1) + 0.0  # never -0.0
        return f"lanes@{self.host[-LONGEST_HOST:]} {self.release} {offset:+.1f}s"


@dataclass(frozen=True)
class FleetWorker:
    """A worker in Prefect; `report` is None if no supervisor runs on its host."""

    name: str
    pool: str
    is_online: bool
    report: HostReport | None

    def __str__(self) -> str:
        if self.report is None:
            return f"{self.name} (release and clock unknown: no supervisor runs beside it)"
        return f"{self.name} (release {self.report.release}, clock {self.report.offset_s:+.1f} s)"


def reports(ask: Ask) -> list[HostReport]:
    """Return the current reports of the supervisors."""
    found = [SESSION.fullmatch(each.name) for each in ask(SESSIONS)]
    return [HostReport(s["host"], s["release"], float(s["offset"])) for s in found if s]


def fleet(
    api: PrefectApi, host_reports: Sequence[HostReport], pools: Iterable[str] = POOLS
) -> list[FleetWorker]:
    """Return the workers of the pools, including workers that ended recently.

    Raises:
        StandError: Prefect gives no usable answer.
    """
    of = {each.host: each for each in host_reports}
    return [
        FleetWorker(
            each["name"],
            pool,
            each["status"] == "ONLINE",
            of.get(each["name"].removeprefix(f"{pool}-")[-LONGEST_HOST:]),
        )
        for pool in pools
        for each in api.workers(pool)
    ]


def check_places(pool: Mapping[str, Any], *, keep_warm: int) -> None:
    """Raise StandError if the drains' work pool admits too few runs for the warm drains and their successors."""
    limit, least = pool.get("concurrency_limit"), 2 * max(1, keep_warm)
    if pool["name"] == POOL and limit is not None and limit < least:
        raise StandError(
            f"the work pool `{POOL}` admits {limit} runs at once, and {least} are needed: a drain that takes over runs beside "
            f"the one before it. Run `prefect work-pool set-concurrency-limit {POOL} {least}`, or set more"
        )


def troubles(host_reports: Sequence[HostReport]) -> list[str]:
    """Return sentences on problems with hosts: one name for two hosts, or a clock that is wrong."""
    twice = [
        host for host, count in Counter(each.host for each in host_reports).items() if count > 1
    ]
    found = [
        f"two supervisors tell that they run on {host}, and their workers have the same names: set LANES_HOST to another name "
        "on one of the machines, or run `lanes worker` and `lanes up` on one machine only once"
        for host in twice
    ]
    for each in host_reports:
        if abs(each.offset_s) >= MOST_OFFSET_S:
            way = "ahead of" if each.offset_s > 0 else "behind"
            found.append(
                f"the clock of {each.host} is {abs(each.offset_s):.1f} s {way} that of Postgres: synchronize it (NTP), because "
                "Prefect judges runs by it, and marks healthy ones as crashed"
            )
    return found
