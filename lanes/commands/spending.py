"""`lanes budget` and `lanes overhead`: what may be spent, what keeping the lanes takes a month, and how both are changed."""

import getpass
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.table import Table
from sqlalchemy import Connection, Engine

from lanes.commands.options import NONE_GIVEN, AsJson, Why, dollars
from lanes.commands.running import on_database, print_json, screen
from lanes.money.budget import Budget, BudgetStatus, Period
from lanes.money.overhead import ASSUMED_USD, EVERY, DatedOverhead, Overhead, OverheadKind
from lanes.report import details
from lanes.report.table import in_terminal
from lanes.store import asking
from lanes.store.database import clock
from lanes.store.money import budgets, overheads
from lanes.store.workload import workloads
from lanes.text import plain
from lanes.units import usd as usd_text
from lanes.words import Lane


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
        print_json({"said": said, "budgets": [_budget_json(each) for each in found]})
        return 0
    if said is not None:
        print(plain(said))
    else:
        _show_budgets(found)
    return 0


def _budget_json(of: BudgetStatus) -> dict[str, object]:
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


def _show_budgets(found: Sequence[BudgetStatus]) -> None:
    console = screen(120, markup=False)
    if not found:
        console.print("No budget is set: `lanes budget WORKLOAD --hard USD` sets one.")
        return
    table = details.budgets(found)
    console.print(in_terminal(table, below=table.legend, most=len(found)))


def overhead(
    do: Annotated[
        Literal["list", "set"], Parameter(help="Show what was set, or set an amount.")
    ] = "list",
    workload: Annotated[
        str | None,
        Parameter(help="Whose. The default, and *: every workload without an amount of its own."),
    ] = None,
    *,
    lane: Annotated[Lane | None, Parameter(help="To set: which lane.")] = None,
    kind: Annotated[
        OverheadKind | None,
        Parameter(help="To set: what it runs on, or the work that keeps it running."),
    ] = None,
    usd: Annotated[
        Decimal | None, Parameter(converter=dollars, help="To set: US dollars a month.")
    ] = None,
    from_date: Annotated[
        str | None,
        Parameter(
            name="--from", help="To set: the day from which it is so, UTC. The default: today."
        ),
    ] = None,
    why: Why = NONE_GIVEN,
    as_json: AsJson = False,
) -> int:
    """Show or set what each lane takes a month beside the provider's bill: infrastructure and engineering.

    Report, advice and quote count the newest amount that has begun, a workload's own before that of every workload.
    Amounts that are not set are assumed, and the list says so. A later amount replaces an earlier one, which is kept.

    Example: lanes overhead set tickets --lane batch --kind engineering --usd 250 --from 2026-11-01 --why "two hours less"

    Exit code 1 when it is refused, 2 when there is no such workload or something is missing.
    """
    given = {"--lane": lane, "--kind": kind, "--usd": usd}
    whose = None if workload == EVERY else workload
    if do == "list":
        extra = [
            name for name, value in {**given, "--from": from_date}.items() if value is not None
        ]
        if extra:
            print(f"only `lanes overhead set` takes {', '.join(extra)}", file=sys.stderr)
            return 2
        return on_database(lambda pool: _listed(pool, whose, as_json))
    if lane is None or kind is None or usd is None:
        missing = [name for name, value in given.items() if value is None]
        print(f"to set an amount, say {', '.join(missing)}", file=sys.stderr)
        return 2
    try:
        day = None if from_date is None else date.fromisoformat(from_date)
    except ValueError:
        print(f'--from "{from_date}" is no day such as 2026-11-01', file=sys.stderr)
        return 2

    def put(pool: Engine) -> int:
        with pool.begin() as connection:
            now = clock(connection)
            wanted = Overhead(whose, lane, kind, usd, day or now.astimezone(UTC).date())
            said = overheads.put(connection, wanted, who=getpass.getuser(), why=why, now=now)
        if as_json:
            print_json({"said": said, "overhead": _flat(wanted)})
        else:
            print(plain(said))
        return 0

    return on_database(put)


def _listed(pool: Engine, workload: str | None, as_json: bool) -> int:
    with pool.begin() as connection:
        if workload is not None:
            workloads.check_known(connection, workload)
        rows = overheads.rows(asking.through(connection), None if workload is None else [workload])
    if as_json:
        assumed = [
            {"lane": lane, "kind": kind, "monthly_usd": float(usd)}
            for (lane, kind), usd in ASSUMED_USD.items()
        ]
        print_json({"overheads": [_overhead_json(each) for each in rows], "assumed": assumed})
    else:
        _show_overheads(rows)
    return 0


def _flat(of: Overhead) -> dict[str, object]:
    return {**asdict(of), "monthly_usd": float(of.monthly_usd)}


def _overhead_json(of: DatedOverhead) -> dict[str, object]:
    return {**_flat(of.overhead), "who": of.who, "why": of.why, "set_at": of.set_at}


def _show_overheads(rows: Sequence[DatedOverhead]) -> None:
    console = screen(120, markup=False, highlight=False)
    if rows:
        table = Table()
        for heading in ("Workload", "Lane", "Kind", "A month", "From", "Who", "Why"):
            table.add_column(heading, justify="right" if heading == "A month" else "left")
        for each in rows:
            of = each.overhead
            table.add_row(
                plain(of.workload or "every other"),
                of.lane,
                of.kind,
                usd_text(of.monthly_usd),
                str(of.from_date),
                plain(each.who),
                plain(each.why),
            )
        console.print(table)
    assumed = "; ".join(
        f"{lane} {kind} {usd_text(amount)}" for (lane, kind), amount in ASSUMED_USD.items()
    )
    console.print(f"Where nothing is set, this is assumed a month: {assumed}.")
