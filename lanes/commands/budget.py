"""`lanes budget`: what may be spent, what is, and how that is changed."""

import getpass
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table
from sqlalchemy import Connection, Engine

from lanes.commands.amount import dollars
from lanes.commands.guarded import on_database
from lanes.commands.output import AsJson, print_json
from lanes.commands.reason import NONE_GIVEN, Why
from lanes.money.budget import Budget, BudgetStatus, Period
from lanes.report import sections
from lanes.stand.console import Console
from lanes.store.database import clock
from lanes.store.money import budgets
from lanes.store.workload import workloads
from lanes.text import plain


def budget(
    workload: str | None = None,
    *,
    hard: Annotated[
        Decimal | None,
        Parameter(converter=dollars, help="US dollars that are never exceeded; 0 pays nothing."),
    ] = None,
    soft: Annotated[
        Decimal | None,
        Parameter(converter=dollars, help="US dollars from which on what may wait goes to batch."),
    ] = None,
    consumer: Annotated[
        str | None, Parameter(help="Whose items it pays. The default: all of the workload.")
    ] = None,
    period: Annotated[Period, Parameter(help="From midnight in the zone on.")] = Period.DAY,
    zone: Annotated[
        str | None, Parameter(help="IANA time zone. The default: as it is; UTC of a new budget.")
    ] = None,
    remove: Annotated[bool, Parameter(negative="", help="Have this budget no more.")] = False,
    why: Why = NONE_GIVEN,
    as_json: AsJson = False,
) -> int:
    """Show the budgets, of one workload or of all; with a limit set one, with --remove have it no more.

    At a hard limit nothing more is paid: work is kept, and goes on by itself once the budget is raised or the next period
    begins. What calls and batches under way may cost is reserved; what they do not use comes back as they end. Both limits
    are set at once: the one not given is none.

    Example: lanes budget tickets --hard 20 --soft 15 --period day --zone Europe/Berlin

    Exit code 1 when it is refused, 2 when there is no such workload.
    """
    if workload is None and (remove or hard is not None or soft is not None):
        print("say of which workload", file=sys.stderr)
        return 2
    if remove and (hard is not None or soft is not None):
        print("--remove takes no limits", file=sys.stderr)
        return 2

    if consumer is not None and not remove and hard is None and soft is None:
        print(
            "--consumer is for a budget that is set or removed: say --hard, --soft or --remove",
            file=sys.stderr,
        )
        return 2

    def change(connection: Connection, now: datetime) -> str | None:
        if workload is None:
            return None
        if remove:
            return budgets.remove(connection, workload, consumer, period, now=now)
        if hard is None and soft is None:
            return None
        begins_in = zone or budgets.zone_of(connection, workload, consumer, period)
        wanted = Budget(workload, consumer, period, begins_in, soft, hard)
        return budgets.put(connection, wanted, who=getpass.getuser(), why=why, now=now)

    return on_database(lambda pool: _changed_and_shown(pool, workload, change, as_json))


def _changed_and_shown(
    pool: Engine,
    workload: str | None,
    change: Callable[[Connection, datetime], str | None],
    as_json: bool,
) -> int:
    with pool.begin() as connection:
        now = clock(connection)
        if workload is not None:
            workloads.check_known(connection, workload)
        said = change(connection, now)
        found = budgets.statuses(connection, None if workload is None else [workload], now=now)
    if as_json:
        print_json({"said": said, "budgets": [_json(each) for each in found]})
        return 0
    if said is not None:
        print(plain(said))
    else:
        _show(found)
    return 0


def _json(of: BudgetStatus) -> dict[str, object]:
    known = asdict(of)
    told = {**known.pop("budget"), **known, **_derived(of)}
    return {
        name: float(value) if isinstance(value, Decimal) else value for name, value in told.items()
    }


def _derived(of: BudgetStatus) -> dict[str, object]:
    return {
        "reserved_usd": of.reserved_usd,
        "left_usd": of.rest_usd,
        "share": of.share,
        "used_up": of.is_used_up,
        "waits": of.waits,
        "state": of.state,
    }


def _show(found: Sequence[BudgetStatus]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120, markup=False)
    section = sections.budgets(found)
    if not section.rows:
        console.print("No budget is set: `lanes budget WORKLOAD --hard USD` sets one.")
        return
    table = Table()
    for head, side in zip(section.heads, section.sides, strict=True):
        table.add_column(head, justify="left" if side == "l" else "right")
    for row in section.rows:
        table.add_row(*row)
    console.print(table)
    console.print(section.explained)
