"""The memory growth of a drain: one process answers 100,000 items, and is measured after the first 10,000 and at the end.

The client sends items in chunks, always somewhat ahead of the answers, so that the drain has work but no large backlog.
"""

import argparse
import time

from tests.benchmarks.answering import one_drain
from tests.benchmarks.ground import server
from tests.benchmarks.process_costs import resident_mb
from tests.benchmarks.standin_home import standin
from tests.benchmarks.telling import tell

AHEAD = 5_000  # items that may wait


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument(
        "--after", type=int, default=10_000, help="answers after which memory is looked at first"
    )
    parser.add_argument("--calls", type=int, default=64, help="at once")
    given = parser.parse_args()
    with server() as ground, standin() as endpoint:
        url = ground.database(of_lanes=True)
        with one_drain(url, endpoint.url, most_calls=given.calls) as drain:
            began, before = time.perf_counter(), drain.answered()
            seen: list[float] = []
            step = min(AHEAD, given.after)
            for sent in range(0, given.items, step):
                drain.send(sent, min(step, given.items - sent))
                drain.until_answered(before + sent)
                if sent >= given.after:
                    seen.append(resident_mb(drain.pid))
                    print(f"answered: {sent:,} of {given.items:,}, {seen[-1]:.1f} MB", flush=True)
            drain.until_answered(before + given.items)
            seen.append(resident_mb(drain.pid))
            took = time.perf_counter() - began
    figures = {"rss_growth_mb": seen[-1] - seen[0]}
    about = {
        "after_mb": seen[0],
        "end_mb": seen[-1],
        "most_mb": max(seen),
        "items_per_s": given.items / took,
    }
    tell(
        "drain", figures, **vars(given), **{name: round(value, 1) for name, value in about.items()}
    )


if __name__ == "__main__":
    main()
