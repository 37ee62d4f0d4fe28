"""The cost of an item, by the stand-in's own bill at list prices: a fifth is urgent and real-time, the rest may wait.

`vs_all_realtime` compares with each item alone in a real-time call without a cache. `vs_optimum` compares with the cheapest
plan that was found for bare calls with the same packs. `vs_optimum` is measured once where nearly all requests of a batch find
a cached prompt and once where a third do, and the worse of the two is reported. It leaves out the first rounds, in which Lanes
finds out whether caching pays; `learning_vs_optimum` includes them. No pack is checked against answers to single items: the
report lists the cost of such checks separately. `agreement` is the share of packed answers that equal the answer to the item
alone, by the stand-in's embedding model.
`ledger_difference_usd` is the difference between the ledger and the bill, over calls of every kind. `cold_primer_ratio` is the
cost of a cold batch with a primer over that of a batch without cache marks, unpacked; `cold_marked_ratio` is the same for a
batch in which every request has a mark.
`second_passes_saved` and `corrections_missed` are shares of the early answers of a Lambda workload of four classes, at an
agreement of 95 %, a stated risk of 10 % and a sample of 10 %: the answers that got no second pass, and those of them that were
wrong.
"""

import argparse
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from tests.benchmarks import agreeing, cold_batch, cost_life, cost_plans, mixed_calls
from tests.benchmarks.bank_messages import HOME, SHARED_TOKENS, Messages, messages
from tests.benchmarks.cost_life import WORKLOAD, CostSizes
from tests.benchmarks.ground import Server, server
from tests.benchmarks.telling import tell
from tests.examples import version
from tests.second_pass_worlds import WorldClass, lead

REGIMES = {"most find a cached prompt": 0.98, "a third does": 0.33}
SECOND_PASS = {"risk": 0.1, "sample": 0.1}
PACKS = {"realtime_pack": 5, "batch_pack": 20, "pack_check_share": 0}


def compared(
    ground: Server, of: Messages, sizes: CostSizes, *, rounds: int, learning: int, hits: float
) -> Mapping[str, float]:
    """Return the cost of the rounds by Lanes and by the plans."""
    url = ground.database(of_lanes=True)
    led = cost_life.lead(url, of, PACKS, sizes, rounds=learning + rounds, hits=hits)
    ground.drop(url)
    plans = dict(
        cost_plans.priced(version(workload=WORKLOAD, **of.spec, **PACKS), of, sizes, hits=hits)
    )
    alone = plans.pop("alone")
    cheapest = min(plans, key=lambda plan: plans[plan])
    for lane, stands in led.caching.items():
        print(f"{lane} {stands}", flush=True)
    print(f"cheapest: {cheapest}, ${plans[cheapest]:.6f} a round; alone ${alone:.6f}", flush=True)
    later, whole = (sum(usd, Decimal(0)) / len(usd) for usd in (led.usd[learning:], led.usd))
    return {
        "vs_all_realtime": float(later / alone),
        "vs_optimum": float(later / plans[cheapest]),
        "learning_vs_optimum": float(whole / plans[cheapest]),
        "ledger_difference_usd": float(led.difference),
        "usd_a_round": float(later),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2_500, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--learning", type=int, default=3, help="rounds before those that count")
    parser.add_argument(
        "--calls", type=int, default=10_000, help="that the ledger is compared over"
    )
    parser.add_argument(
        "--compared", type=int, default=1_000, help="items that are also asked alone"
    )
    parser.add_argument("--cold", type=int, default=500, help="items of a cold batch")
    parser.add_argument("--texts", type=Path, default=HOME, help="where BANKING77 is")
    given = parser.parse_args()
    of, sizes = messages(given.texts), CostSizes(given.items)
    with server() as ground:
        seen = {
            name: compared(
                ground, of, sizes, rounds=given.rounds, learning=given.learning, hits=hits
            )
            for name, hits in REGIMES.items()
        }
        mixed = mixed_calls.lead(ground.database(of_lanes=True), of, given.calls)
        cold = cold_batch.lead(ground.database(of_lanes=True), of, given.cold)
    agreed = agreeing.agreement(
        version(workload=WORKLOAD, **of.spec, **PACKS), of.payloads(given.compared)
    )
    left_out = lead([WorldClass(n, 0.95) for n in (4, 3, 2, 1)], SECOND_PASS, answers=60_000)
    differences = [
        float(mixed.difference),
        float(cold.difference),
        *(each["ledger_difference_usd"] for each in seen.values()),
    ]
    figures = {
        "vs_all_realtime": max(each["vs_all_realtime"] for each in seen.values()),
        "vs_optimum": max(each["vs_optimum"] for each in seen.values()),
        "agreement": agreed,
        "ledger_difference_usd": max(differences),
        "cold_primer_ratio": float(cold.primed / cold.plain),
        "cold_marked_ratio": float(cold.marked / cold.plain),
        "second_passes_saved": left_out.saved_share,
        "corrections_missed": left_out.missed_share,
    }
    sizes_told = {name: value for name, value in vars(given).items() if name != "texts"}
    tell(
        "cost",
        figures,
        **sizes_told,
        **PACKS,
        shared_tokens=SHARED_TOKENS,
        texts=of.said,
        seen=seen,
        more={"calls": mixed.calls, **mixed.kinds, **cold.tokens},
    )


if __name__ == "__main__":
    main()
