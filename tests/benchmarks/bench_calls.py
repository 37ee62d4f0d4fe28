"""Real-time calls: 5,000 of 200 ms, 64 at once, against a bare AsyncAnthropic that stores nothing and async-batch-llm.

Lanes is measured end to end: its time begins when the client sends the items and ends when the last answer is committed. Its
drain runs in a process of its own and is warm.
"""

import argparse
import time
from functools import partial

from tests.benchmarks.answering import one_drain
from tests.benchmarks.ground import Server, server
from tests.benchmarks.peers import async_calls, bare_calls
from tests.benchmarks.rounds import take_turns
from tests.benchmarks.standin_home import standin
from tests.benchmarks.telling import installed, tell


def lanes(ground: Server, endpoint_url: str, calls: int, at_once: int) -> dict[str, float]:
    """Return the calls a second of Lanes."""
    url = ground.database(of_lanes=True)
    with one_drain(url, endpoint_url, most_calls=at_once) as drain:
        before = drain.answered()
        began = time.perf_counter()
        drain.send(0, calls)
        drain.until_answered(
            before + calls,
            lambda done: print(f"answered: {done - before:,} of {calls:,}", flush=True),
        )
        took = time.perf_counter() - began
    ground.drop(url)
    return {"per_s": calls / took}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5_000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--call-s", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with server() as ground, standin(latency_s=given.call_s) as endpoint:
        asked = endpoint.url, given.calls, given.at_once
        contenders = {
            "lanes": partial(lanes, ground, *asked),
            "bare": lambda: {"per_s": given.calls / bare_calls.seconds(*asked)},
            "async-batch-llm": lambda: {"per_s": given.calls / async_calls.seconds(*asked)},
        }
        seen = take_turns(contenders, rounds=given.rounds)
    rate = {name: figures["per_s"] for name, figures in seen.items()}
    figures = {
        "vs_bare": rate["lanes"] / rate["bare"],
        "vs_async_batch_llm": rate["lanes"] / rate["async-batch-llm"],
    }
    tell(
        "calls", figures, **vars(given), seen=seen, peers=installed("async-batch-llm", "anthropic")
    )


if __name__ == "__main__":
    main()
