"""The resources that the processes and the database of a running stand use: processor time, bytes, WAL."""

from collections.abc import Mapping

from lanes.stand.processes import Processes
from tests.benchmarks.process_costs import cpu_s
from tests.running_stand import RunningStand

OF_LANES = ("worker-realtime", "worker-batch", "supervisor")  # a worker's runs are its children
BYTES = "select pg_database_size(current_database()), pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"
SESSIONS = """
select count(*) from pg_stat_activity where datname = current_database() and application_name like 'lanes %'
"""


def used(stand: RunningStand) -> Mapping[str, float]:
    """Return the use so far: seconds of processor time by part, bytes of the database, bytes of WAL."""
    pids = {
        each.name: each.pid
        for each in Processes(stand.home / "processes", stand.home).list_recorded()
    }
    postmaster = int((stand.home / "postgres" / "postmaster.pid").read_text().split()[0])
    size, wal = stand.rows(BYTES)[0]
    return {
        "lanes_cpu_s": sum(cpu_s(pids[name]) for name in OF_LANES),
        "postgres_cpu_s": cpu_s(postmaster),
        "prefect_cpu_s": cpu_s(pids["prefect-server"]),
        "bytes": float(size),
        "wal": float(wal),
    }


def of_each(
    before: Mapping[str, float], after: Mapping[str, float], items: int
) -> dict[str, float]:
    """Return the resources that an item used between the two readings: milliseconds of processor time, and bytes."""
    took = {name: (after[name] - before[name]) / items for name in before}
    cpu = {
        f"{name.removesuffix('_s')}_ms_per_item": 1000 * took[name]
        for name in took
        if name.endswith("_s")
    }
    return {**cpu, "bytes_per_item": took["bytes"], "wal_per_item": took["wal"]}
