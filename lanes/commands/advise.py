"""`lanes advise`: which pattern suits a workload, from its own ledger, and why."""

import json
from dataclasses import asdict
from datetime import timedelta
from math import isfinite
from typing import Annotated, Any

from cyclopts import Parameter, validators
from rich.console import Console
from sqlalchemy import Engine

from lanes.advice.breakeven import Overheads
from lanes.advice.recommendation import Advice
from lanes.advice.recommendation import advise as decide
from lanes.commands.guarded import on_database
from lanes.commands.output import AsJson
from lanes.report.advice_terminal import render
from lanes.store.advice.advice import evidence
from lanes.store.database import clock

NotNegative = validators.Number(gte=0, lte=1e12)


def advise(
    workload: str,
    *,
    days: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=365), help="Days looked back, 1 to 365.")] = 30,
    infra_usd: Annotated[float, Parameter(validator=NotNegative, help="Infrastructure of the batch lane, USD a month.")] = 50,
    engineering_hours: Annotated[float, Parameter(validator=NotNegative, help="Hours a month to run it.")] = 4,
    hourly_usd: Annotated[float, Parameter(validator=NotNegative, help="What such an hour costs, USD.")] = 100,
    realtime_infra_usd: Annotated[
        float, Parameter(validator=NotNegative, help="Infrastructure of the real-time lane, USD a month.")
    ] = 20,
    realtime_engineering_hours: Annotated[
        float, Parameter(validator=NotNegative, help="Hours a month to run the real-time lane.")
    ] = 1,
    correction_usd: Annotated[
        float, Parameter(validator=NotNegative, help="What it is worth that a wrong answer is corrected later, USD.")
    ] = 1,
    items_per_month: Annotated[
        float | None, Parameter(validator=validators.Number(gt=0, lte=1e12), help="Volume to assume; else projected.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Recommend real-time, batch, hybrid or lambda for a workload, with every criterion and its evidence.

    Inconclusive when too little was seen. Exit code 2 when there is no such workload.
    """
    overheads = Overheads(
        infra_usd, engineering_hours, hourly_usd, realtime_infra_usd, realtime_engineering_hours, correction_usd
    )

    def look(pool: Engine) -> int:
        with pool.begin() as connection:
            now = clock(connection)
            seen = evidence(connection, workload, since=now - timedelta(days=days), now=now)
        advice = decide(seen, overheads, items_per_month=items_per_month)
        if as_json:
            print(json.dumps(as_data(advice), indent=2, default=str, allow_nan=False))
        else:
            Console().print(render(advice))
        return 0

    return on_database(look)


def as_data(advice: Advice) -> dict[str, Any]:
    """Everything of the advice, with the break-even worked out; null where it never pays."""
    even, share = advice.break_even, advice.needs.low if advice.needs else None
    worked_out = {}
    if even is not None and share is not None:
        worked_out = {
            "break_even_share": _finite(even.share), "break_even_items_per_month": _finite(even.volume(share)),
            "saving_usd": even.saving(share), "net_usd": even.net(share),
            "batch_only_net_usd": even.batch_net,
        }  # fmt: skip
    lanes = [{**asdict(each), "total_usd": each.total_usd} for each in advice.lanes]
    return {**asdict(advice), "lanes": lanes, "rule_agrees": advice.rule.agrees, "worked_out": worked_out}


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None
