"""The commands about single items: explain, retry, cancel, forget."""

from dataclasses import asdict

from lanes.commands.actions import Cancel, Forget, Retry
from lanes.commands.options import NONE_GIVEN, AsJson, Why
from lanes.commands.running import (
    WrongUsage,
    command,
    perform,
    print_json,
    print_table,
    transaction,
)
from lanes.report.table import Table, label
from lanes.settling.story import happenings, next_step, shared_context
from lanes.store.settling import story
from lanes.text import plain
from lanes.units import usd


@command
def explain(workload: str, key: str, *, as_json: AsJson = False) -> None:
    """Say what happened to an item, in order, and who moves it on.

    Exit code 2 when there is no such item.
    """
    with transaction() as (connection, now):
        found = story.records(connection, workload, key, now=now)
    told, then, shared = happenings(found), next_step(found, now), shared_context(found)
    if as_json:
        happened = [asdict(each) for each in told]
        print_json({"item": found.item, "happenings": happened, "next": then, "cache": shared})
        return
    table = Table(
        f"{workload} / {plain(key)}: {found.item['state']}, {usd(found.item['cost_usd'])}",
        told,
        label("When (UTC)", lambda of: f"{of.at:%Y-%m-%d %H:%M:%S}"),
        label("What", lambda of: of.what),
        label("How", lambda of: of.detail),
    )
    print_table(table, width=120)
    print(f"Next: {plain(then, most=400)}")
    for each in shared:
        print(f"Cache: {plain(each, most=400)}")


@command
def retry(
    workload: str,
    *,
    key: list[str] | None = None,
    all: bool = False,
    why: Why = NONE_GIVEN,
    as_json: AsJson = False,
) -> int:
    """Give failed items another chance, with a whole retry budget and the version in force.

    Exit code 1 when an item named is not failed, 2 when there is no such workload.

    Args:
        key: Which item; may be given more than once.
        all: Every failed item of the workload, and failed authoritative pass.
    """
    if bool(key) == all:
        raise WrongUsage("say which items: --key KEY, or --all")
    return perform(Retry, workload, why, as_json, keys=key or [])


@command
def cancel(workload: str, key: str, *, why: Why = NONE_GIVEN, as_json: AsJson = False) -> int:
    """Withdraw an item that is not settled. What a batch already holds is billed, recorded and never shown.

    Exit code 1 when it is settled, 2 when there is no such item.
    """
    return perform(Cancel, workload, why, as_json, key=key)


@command
def forget(workload: str, key: str, *, why: Why = NONE_GIVEN, as_json: AsJson = False) -> int:
    """Withdraw an item and erase what it said: input, revisions, answers, labels. Its key and its costs stay.

    The provider keeps the results of a batch for 29 days. Exit code 2 when there is no such item.
    """
    return perform(Forget, workload, why, as_json, key=key)
