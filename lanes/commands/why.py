"""`lanes why`: why the share of batch changed, from the figures of the routes."""

from collections.abc import Iterable
from datetime import timedelta

from lanes.commands.options import AsJson
from lanes.commands.options import since as moment
from lanes.commands.running import WrongUsage, command, print_json, print_table, transaction
from lanes.promises.decisions import GUARDS, HOUR
from lanes.promises.incident import EVERYBODY
from lanes.report.table import Table, figure, label
from lanes.routing.mix import MixPart, changed, sentence
from lanes.store import asking
from lanes.store.routing import mix
from lanes.store.routing.mix import RoutingChange
from lanes.store.workload import workloads
from lanes.text import plain
from lanes.units import MISSING, clock
from lanes.words import Reason

LONGEST = timedelta(days=36_500)
# The kinds of change that may be behind a reason.
BEHIND = {Reason.SPLIT: ("split", "rollout"), **dict.fromkeys(GUARDS, ("incident", "budget"))}


@command
def why(workload: str | None = None, *, since: str = "1d", as_json: AsJson = False) -> None:
    """Say why the share of batch changed: by which reasons, consumers and versions, and what people changed meanwhile.

    A period is compared with the same hours a week before, or without items then, with the time just before it. It begins
    with a whole hour. The parts add up to the change. Fallbacks, sheds and rescues are not counted by consumer.

    Exit code 2 when the moment cannot be read, or when there is no such workload.

    Example: lanes why tickets --since 1d

    Args:
        workload: The workload, with a table of the parts; else every workload that received items.
        since: When the period begins: a span such as 2h or 7d, or a moment.
    """
    with transaction() as (connection, now):
        if workload is not None:
            workloads.check_known(connection, workload)
        began = max(moment(since, now, "--since "), now - LONGEST)
        ask = asking.through(connection)
        if began >= now:
            raise WrongUsage(f'--since "{since}" has not passed yet')
        routed = mix.periods(ask, workload, since=began, until=now)
        meanwhile = mix.changes(ask, workload, since=began - HOUR, until=now)
    told, parts = list[dict[str, object]](), list[MixPart]()
    for name, (before, counts) in routed.items():
        found = changed(counts)
        own = [each for each in meanwhile if each.workload in (name, EVERYBODY)]
        said = sentence(name, found, lambda reason, own=own: _behind(reason, own))
        told.append({"workload": name, "said": said, "compared_with": before})
        if found is not None:
            parts = sorted(found.parts, key=lambda each: -abs(each.change))
            told[-1] |= {**found._asdict(), "parts": [each._asdict() for each in parts]}
    if as_json:
        print_json({"workloads": told, "changes": [each._asdict() for each in meanwhile]})
        return
    for each in told or [{"said": "No item was received in that time, or in the one before."}]:
        print(plain(each["said"], most=1_000))
    if workload is not None and parts:
        table = Table(
            "Parts of the change",
            parts,
            label("Reason", lambda of: of.reason),
            label("Consumer", lambda of: of.consumer or MISSING),
            label("Version", lambda of: str(of.version or MISSING)),
            figure("Points", "of the change", lambda of: f"{100 * of.change:+.1f}"),
        )
        print_table(table, width=100)
    for each in meanwhile:
        print(plain(f"{clock(each.at, beside=now)} {each.workload}: {each.said}", most=300))


def _behind(reason: str, meanwhile: Iterable[RoutingChange]) -> str:
    """Return the newest change that may be behind a reason's part, or nothing."""
    for each in meanwhile:
        if reason in BEHIND and each.kind in BEHIND[Reason(reason)]:
            incident = each.kind == "incident"
            return f" during {each.said.partition(':')[0]}" if incident else f" since {each.said}"
    return ""
