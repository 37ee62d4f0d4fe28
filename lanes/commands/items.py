"""The commands about single items: explain, retry, cancel, forget."""

import sys
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter
from rich import box
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from lanes.commands.guarded import on_database
from lanes.commands.output import AsJson, print_json
from lanes.settling.story import happenings, next_step, shared_context
from lanes.stand.console import Console
from lanes.store.database import clock
from lanes.store.doors import forgetting, items
from lanes.store.locks import OWN_PATIENCE, in_own_transaction
from lanes.store.settling import retries, story
from lanes.text import plain
from lanes.units import counted, usd


def explain(workload: str, key: str, *, as_json: AsJson = False) -> int:
    """Say what happened to an item, in order, and who moves it on.

    Exit code 2 when there is no such item.
    """

    def tell(pool: Engine) -> int:
        with pool.begin() as connection:
            now = clock(connection)
            found = story.records(connection, workload, key, now=now)
        told, then, shared = happenings(found), next_step(found, now), shared_context(found)
        if as_json:
            print_json(
                {
                    "item": found.item,
                    "happenings": [asdict(each) for each in told],
                    "next": then,
                    "cache": shared,
                }
            )
            return 0
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for heading in ("When (UTC)", "What", "How"):
            table.add_column(heading)
        for each in told:
            table.add_row(
                f"{each.at:%Y-%m-%d %H:%M:%S}", each.what, Text(plain(each.detail, most=300))
            )
        console = Console(width=None if sys.stdout.isatty() else 120, highlight=False, markup=False)
        console.print(
            f"{workload} / {plain(key)}: {found.item['state']}, {usd(found.item['cost_usd'])}"
        )
        console.print(table)
        console.print(f"Next: {plain(then, most=400)}")
        for each in shared:
            console.print(f"Cache: {plain(each, most=400)}")
        return 0

    return on_database(tell)


def retry(
    workload: str,
    *,
    key: Annotated[
        list[str] | None, Parameter(negative="", help="Which item; may be given more than once.")
    ] = None,
    all: Annotated[
        bool,
        Parameter(
            name="--all",
            negative="",
            help="Every failed item of the workload, and failed authoritative pass.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Give failed items another chance, with a whole retry budget and the version in force.

    Exit code 1 when an item named is not failed, 2 when there is no such workload.
    """
    if bool(key) == all:
        print("say which items: --key KEY, or --all", file=sys.stderr)
        return 2

    def again(pool: Engine) -> int:
        with pool.begin() as connection:
            retried = retries.retry(connection, workload, key, now=clock(connection))
        left = sorted(set(key or ()) - set(retried))
        if as_json:
            print_json({"workload": workload, "retried": retried, "not_failed": left})
        else:
            print(f"{counted(len(retried), 'item')} will be tried again")
            for each in left:
                print(
                    f'"{each}" is not a failed item: see `lanes explain {workload} {each}`',
                    file=sys.stderr,
                )
        return 1 if left else 0

    return on_database(again)


def cancel(workload: str, key: str, *, as_json: AsJson = False) -> int:
    """Withdraw an item that is not settled. What a batch already holds is billed, recorded and never shown.

    Exit code 1 when it is settled, 2 when there is no such item.
    """

    def withdraw(pool: Engine) -> int:
        outcome = in_own_transaction(pool, OWN_PATIENCE, items.cancel, workload, key)
        sentences = {
            "canceled": f"{workload} / {key} is canceled",
            "settled": f"{workload} / {key} is settled; nothing was changed",
            "unknown_item": f'workload "{workload}" has no item "{key}"',
        }
        if as_json:
            print_json({"workload": workload, "key": key, "outcome": outcome})
        else:
            print(sentences[outcome], file=sys.stdout if outcome == "canceled" else sys.stderr)
        return {"canceled": 0, "settled": 1}.get(outcome, 2)

    return on_database(withdraw)


def forget(workload: str, key: str, *, as_json: AsJson = False) -> int:
    """Withdraw an item and erase what it said: input, revisions, answers, labels. Its key and its costs stay.

    The provider keeps the results of a batch for 29 days. Exit code 2 when there is no such item.
    """

    def erase(pool: Engine) -> int:
        with pool.begin() as connection:
            forgetting.forget(connection, workload, key, now=clock(connection))
        if as_json:
            print_json({"workload": workload, "key": key, "forgotten": True})
        else:
            print(f"{workload} / {key} is canceled and what it said is erased")
        return 0

    return on_database(erase)
