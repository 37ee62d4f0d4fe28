"""`lanes budget` and `lanes overhead`: show and set spending limits, and the monthly costs of the lanes."""

import getpass
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date
from decimal import Decimal
from typing import Annotated, Literal

from cyclopts import Parameter

from lanes.commands.options import NONE_GIVEN, AsJson, Why, dollars
from lanes.commands.running import WrongUsage, command, print_json, print_table, tell, transaction
from lanes.money.budget import Budget, BudgetStatus, Period
from lanes.money.overhead import ASSUMED_USD, EVERY, DatedOverhead, Overhead, OverheadKind
from lanes.report import details
from lanes.report.table import Table, figure, label
from lanes.store import asking
from lanes.store.money import budgets, overheads
from lanes.store.workload import workloads
from lanes.text import plain
from lanes.units import usd as usd_text
from lanes.words import Lane

CONSUMER_OF = "--consumer is for a budget that is set or removed: say --hard, --soft or --remove"


@Parameter(name="*")
@dataclass(frozen=True)
class BudgetOptions:
    """The limits of a budget, and which budget it is.

    Attributes:
        hard: US dollars that are never exceeded; 0 allows no spending.
        soft: US dollars from which items that may wait go to batch.
        consumer: The consumer whose items it pays for. The default: all items of the workload.
        period: The period, which begins at midnight in the zone.
        zone: IANA time zone. The default: unchanged; UTC for a new budget.
    """

    hard: Annotated[Decimal | None, Parameter(converter=dollars)] = None
    soft: Annotated[Decimal | None, Parameter(converter=dollars)] = None
    consumer: str | None = None
    period: Period = Period.DAY
    zone: str | None = None

    @property
    def sets(self) -> bool:
        """Whether a limit was given."""
        return self.hard is not None or self.soft is not None


@command
def budget(
    workload: str | None = None,
    *,
    of: BudgetOptions = BudgetOptions(),
    remove: bool = False,
    why: Why = NONE_GIVEN,
    as_json: AsJson = False,
) -> None:
    """Show the budgets of one or all workloads; set one with --hard or --soft, or remove one with --remove.

    At a hard limit nothing more is paid: work is kept, and continues once the budget is raised or the next period
    begins. The possible cost of running calls and batches is reserved; the unused part is released when they end. Both limits
    are set at once: a limit that is not given is removed.

    Example: lanes budget tickets --hard 20 --soft 15 --period day --zone Europe/Berlin

    Exit code 1 when it is refused, 2 when there is no such workload.

    Args:
        remove: Remove this budget.
    """
    if workload is None and (remove or of.sets):
        raise WrongUsage("say of which workload")
    if remove and of.sets:
        raise WrongUsage("--remove takes no limits")
    if of.consumer is not None and not remove and not of.sets:
        raise WrongUsage(CONSUMER_OF)
    message = None
    with transaction() as (connection, now):
        if workload is not None:
            workloads.check_known(connection, workload)
            scope = (workload, of.consumer, of.period)
            if remove:
                message = budgets.remove(connection, *scope, now=now)
            elif of.sets:
                zone = of.zone or budgets.read_zone(connection, *scope)
                wanted = Budget(*scope, zone, of.soft, of.hard)
                message = budgets.put(connection, wanted, who=getpass.getuser(), why=why, now=now)
        rows = budgets.statuses(connection, None if workload is None else [workload], now=now)
    if as_json:
        print_json({"said": message, "budgets": [_budget_json(each) for each in rows]})
    elif message is not None:
        print(plain(message))
    elif rows:
        print_table(details.budgets(rows), width=120)
    else:
        print("No budget is set: `lanes budget WORKLOAD --hard USD` sets one.")


def _budget_json(status: BudgetStatus) -> dict[str, object]:
    fields = asdict(status)
    data = {
        **fields.pop("budget"),
        **fields,
        "reserved_usd": status.reserved_usd,
        "left_usd": status.rest_usd,
        "share": status.share,
        "used_up": status.is_used_up,
        "waits": status.waits,
        "state": status.state,
    }
    return {name: float(v) if isinstance(v, Decimal) else v for name, v in data.items()}


@Parameter(name="*")
@dataclass(frozen=True)
class OverheadOptions:
    """The overhead that a command sets.

    Attributes:
        lane: To set: which lane.
        kind: To set: the infrastructure that the lane runs on, or the engineering that keeps it running.
        usd: To set: US dollars a month.
        from_date: To set: the first day of the amount, UTC. The default: today.
    """

    lane: Lane | None = None
    kind: OverheadKind | None = None
    usd: Annotated[Decimal | None, Parameter(converter=dollars)] = None
    from_date: Annotated[str | None, Parameter(name="--from")] = None

    def day(self) -> date | None:
        """Return the day from which the amount is in force, or None if none was given."""
        try:
            return None if self.from_date is None else date.fromisoformat(self.from_date)
        except ValueError:
            raise WrongUsage(f'--from "{self.from_date}" is no day such as 2026-11-01') from None


@command
def overhead(
    do: Literal["list", "set"] = "list",
    workload: str | None = None,
    *,
    of: OverheadOptions = OverheadOptions(),
    why: Why = NONE_GIVEN,
    as_json: AsJson = False,
) -> None:
    """Show or set the monthly costs of each lane besides the provider's bill: infrastructure and engineering.

    Report, advice and quote use the newest amount that has begun; a workload's own amount outranks that of every workload.
    Amounts that are not set are assumed, and the list shows them. A later amount replaces an earlier one, which is kept.

    Example: lanes overhead set tickets --lane batch --kind engineering --usd 250 --from 2026-11-01 --why "two hours less"

    Exit code 1 when it is refused, 2 when there is no such workload or an argument is missing.

    Args:
        do: Show the amounts, or set one.
        workload: Name of the workload. The default, and *: every workload without an amount of its own.
    """
    options = {"--lane": of.lane, "--kind": of.kind, "--usd": of.usd}
    owner = None if workload == EVERY else workload
    if do == "list":
        extra = {**options, "--from": of.from_date}
        if named := [name for name, value in extra.items() if value is not None]:
            raise WrongUsage(f"only `lanes overhead set` takes {', '.join(named)}")
        _list(owner, as_json)
        return
    if of.lane is None or of.kind is None or of.usd is None:
        missing = [name for name, value in options.items() if value is None]
        raise WrongUsage(f"to set an amount, say {', '.join(missing)}")
    day = of.day()
    with transaction() as (connection, now):
        new_overhead = Overhead(owner, of.lane, of.kind, of.usd, day or now.astimezone(UTC).date())
        message = overheads.put(connection, new_overhead, who=getpass.getuser(), why=why, now=now)
    tell(plain(message), {"said": message, "overhead": _flat(new_overhead)}, as_json=as_json)


def _list(workload: str | None, as_json: bool) -> None:
    with transaction() as (connection, _):
        if workload is not None:
            workloads.check_known(connection, workload)
        rows = overheads.rows(asking.through(connection), None if workload is None else [workload])
    if as_json:
        assumed = [
            {"lane": lane, "kind": kind, "monthly_usd": float(usd)}
            for (lane, kind), usd in ASSUMED_USD.items()
        ]
        print_json({"overheads": [_overhead_json(each) for each in rows], "assumed": assumed})
        return
    if rows:
        print_table(_table(rows), width=120)
    amounts = (f"{lane} {kind} {usd_text(usd)}" for (lane, kind), usd in ASSUMED_USD.items())
    print(f"Where nothing is set, this is assumed a month: {'; '.join(amounts)}.")


def _flat(of: Overhead) -> dict[str, object]:
    return {**asdict(of), "monthly_usd": float(of.monthly_usd)}


def _overhead_json(dated_overhead: DatedOverhead) -> dict[str, object]:
    return {
        **_flat(dated_overhead.overhead),
        "who": dated_overhead.who,
        "why": dated_overhead.why,
        "set_at": dated_overhead.set_at,
    }


def _table(rows: Sequence[DatedOverhead]) -> Table[DatedOverhead]:
    return Table(
        "Monthly costs of the lanes",
        rows,
        label("Workload", lambda of: of.overhead.workload or "every other"),
        label("Lane", lambda of: of.overhead.lane),
        label("Kind", lambda of: of.overhead.kind),
        figure("A month", "", lambda of: usd_text(of.overhead.monthly_usd)),
        label("From", lambda of: str(of.overhead.from_date)),
        label("Who", lambda of: of.who),
        label("Why", lambda of: of.why),
    )
