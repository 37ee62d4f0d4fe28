"""`make fuzz`: hostile cases for each area, for a chosen time, mixed with well-formed neighbours.

The run has its own Postgres and two processes. The exit status is 1 when a case had a forbidden effect; each such case is
written to a file, with the command that repeats it. Hypothesis draws the fragments of the cases; the seed determines all cases.
"""

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import psycopg

from lanes.store.asking import plain_url
from tests.benchmarks.ground import Server, server
from tests.fuzz.areas import AREAS, SAID, AreaResult, run_each

SHARES: tuple[Mapping[str, float], ...] = (  # of the time, by area; each mapping is one process
    {"doors": 0.55, "pages": 0.15, "prompts": 0.15, "rules": 0.15},
    {"batch": 0.45, "calls": 0.55},
)
DOORS, PROVIDER = ("doors",), ("batch", "calls")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=60, help="how long all areas take together (default: 60)"
    )
    parser.add_argument(
        "--seed", type=int, help="of the first round; printed, so that a run can be repeated"
    )
    parser.add_argument("--area", choices=[*AREAS], help="one area alone, for the whole time")
    parser.add_argument("--rounds", type=int, help="most rounds of an area")
    parser.add_argument("--into", help="folder for the cases that fail (default: a temporary one)")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**9) if given.seed is None else given.seed
    into = given.into or str(Path(tempfile.gettempdir()) / f"lanes-fuzz-{seed}")
    shares = SHARES if given.area is None else ({given.area: 1.0},)
    print(f"seed {seed}: {given.seconds:g} s; cases that fail are written into {into}", flush=True)
    began = time.monotonic()
    with (
        server() as ground,
        ProcessPoolExecutor(
            len(shares), mp_context=multiprocessing.get_context("spawn")
        ) as processes,
    ):
        _in_haste(ground)
        running: list[Future[list[AreaResult]]] = []
        for part in shares:
            jobs = [
                (name, ground.database(of_lanes=True), given.seconds * share)
                for name, share in part.items()
            ]
            running.append(processes.submit(run_each, jobs, seed, into, given.rounds))
        try:
            told = [each for part in running for each in part.result()]
        except BaseException:  # an interrupted program does not wait until the time has passed
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    print(f"\nafter {time.monotonic() - began:.0f} s:")
    for each in told:
        print(each)
    return _last_line(told)


def _in_haste(ground: Server) -> None:
    """Turn off synchronous commit: a power cut would lose only cases that can be drawn again."""
    with psycopg.connect(plain_url(ground.database()), autocommit=True) as connection:
        connection.execute("alter role current_user set synchronous_commit = off")


def _last_line(told: list[AreaResult]) -> int:
    def cases(*areas: str) -> int:
        return sum(each.cases for each in told if each.area in areas)

    found = {kind: sum(each.faults[kind] for each in told) for kind in SAID}
    if found["disagrees"]:
        print(f"{found['disagrees']} inputs were not treated alike by all doors")
    print(
        f"door_cases={cases(*DOORS)} provider_cases={cases(*PROVIDER)} crashes={found['crash']} harmed={found['harmed']} "
        f"unbooked={found['unbooked']}",
        flush=True,
    )
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
