"""`lanes overhead`: what keeping the lanes takes a month beside the provider's bill, and how that is changed."""

import getpass
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date
from decimal import Decimal
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.table import Table
from sqlalchemy import Engine

from lanes.commands.amount import dollars as written
from lanes.commands.guarded import on_database
from lanes.commands.output import AsJson, print_json
from lanes.commands.reason import NONE_GIVEN, Why
from lanes.money.overhead import ASSUMED_USD, EVERY, DatedOverhead, Overhead, OverheadKind
from lanes.stand.console import Console
from lanes.store import asking
from lanes.store.database import clock
from lanes.store.money import overheads, overheads_in_force
from lanes.store.workload import workloads
from lanes.text import plain
from lanes.units import usd as dollars
from lanes.words import Lane


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
        Decimal | None, Parameter(converter=written, help="To set: US dollars a month.")
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

    Report, advice and quote count the newest amount that has begun, a workload's own before that of every workload. What nobody
    set is assumed, and the list says so. Nothing that was set is ever changed: a later amount takes its place.

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
        rows = overheads_in_force.rows(
            asking.through(connection), None if workload is None else [workload]
        )
    if as_json:
        assumed = [
            {"lane": lane, "kind": kind, "monthly_usd": float(usd)}
            for (lane, kind), usd in ASSUMED_USD.items()
        ]
        print_json({"overheads": [_json(each) for each in rows], "assumed": assumed})
    else:
        _show(rows)
    return 0


def _flat(of: Overhead) -> dict[str, object]:
    return {**asdict(of), "monthly_usd": float(of.monthly_usd)}


def _json(of: DatedOverhead) -> dict[str, object]:
    return {**_flat(of.overhead), "who": of.who, "why": of.why, "set_at": of.set_at}


def _show(rows: Sequence[DatedOverhead]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120, markup=False, highlight=False)
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
                dollars(of.monthly_usd),
                str(of.from_date),
                plain(each.who),
                plain(each.why),
            )
        console.print(table)
    assumed = "; ".join(
        f"{lane} {kind} {dollars(amount)}" for (lane, kind), amount in ASSUMED_USD.items()
    )
    console.print(f"Where nothing is set, this is assumed a month: {assumed}.")
