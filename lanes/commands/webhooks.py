"""`lanes webhooks`: the programs that receive answers, corrections, failures and incidents as signed requests."""

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import uuid4

from cyclopts import Parameter
from sqlalchemy import Connection

from lanes.commands.options import AsJson, parse_since
from lanes.commands.running import WrongUsage, command, print_json, print_table, tell, transaction
from lanes.errors import SetupError
from lanes.report.table import Table, label, phrase
from lanes.settings import Settings
from lanes.stand.reaching import prefect
from lanes.store import webhooks as kept
from lanes.store.webhooks import Subscriber
from lanes.text import plain
from lanes.units import MISSING, clock, pluralize
from lanes.webhooks import (
    EVENTS,
    TEST,
    USUAL,
    Undelivered,
    WebhookKeys,
    WebhookReceiver,
    block_name,
    make_body,
    origin,
)

NAME = re.compile(r"[a-z0-9](-?[a-z0-9]){0,59}")


@Parameter(name="*")
@dataclass(frozen=True)
class WebhookOptions:
    """The options of a new webhook, and of sending events again.

    Attributes:
        url: For add: the address, https. It is stored as a secret; the list shows only its host.
        types: For add: the events, separated by commas, or all. The default: answers, corrections, failures, jobs, incidents.
        workload: For add: only events about this workload.
        consumer: For add: only events about items of this consumer.
        outputs: For add: events of answers and corrections contain the answer. Without it, the receiver must read the answer.
        allow_private: For add: the receiver may have a private address, such as 10.0.0.5, and no TLS.
        from_: For replay: the position, as in `webhook_event` and the list, from which all events are sent again.
        since: For replay: the moment or span, such as 2h, from which all events are sent again.
    """

    url: str | None = None
    types: str | None = None
    workload: str | None = None
    consumer: str | None = None
    outputs: bool = False
    allow_private: bool = False
    from_: Annotated[int | None, Parameter(name="--from")] = None
    since: str | None = None


@command
def webhooks(
    do: Literal["list", "add", "test", "replay", "rotate", "remove"] = "list",
    name: str | None = None,
    *,
    options: WebhookOptions = WebhookOptions(),
    as_json: AsJson = False,
) -> int | None:
    """Show who gets events as webhooks, add and remove subscribers, and send events to them again.

    add creates a subscriber and prints its secret once: the receiver verifies signatures with it (Standard Webhooks).
    test sends one event, lanes.webhook.test, from this machine, and prints the outcome; a success ends a rest, and re-opens a
    webhook that had answered 410 Gone.
    replay sends the events again that were given up after seven attempts or, with --from or --since, all events from there on.
    rotate creates another secret and prints it. Both secrets sign for a day, so that the receiver can switch.

    Example: lanes webhooks add crm --url https://crm.example.com/hooks/lanes --workload tickets

    Exit code 1 when a test event was not accepted, 2 when there is no such webhook.

    Args:
        do: The action.
        name: Name of the webhook: lower-case letters, digits and hyphens.
    """
    if do == "list":
        with transaction() as (connection, now):
            rows = kept.list_subscribers(connection)
        return _list(rows, now, as_json=as_json)
    if name is None or not NAME.fullmatch(name):
        raise WrongUsage(f"{do} which webhook? Say its name: small letters, digits and hyphens")
    with transaction() as (connection, now):
        if do == "add":
            result = _add(connection, name, options, now)
        else:
            if (to := kept.find(connection, name)) is None:
                raise WrongUsage(f'there is no webhook "{name}"; `lanes webhooks` lists them')
            doing = {"test": _test, "replay": _replay, "rotate": _rotate, "remove": _remove}[do]
            result = doing(connection, to, options, now)
    tell(result.pop("said"), {"name": name, **result}, as_json=as_json)
    return None


def _add(
    connection: Connection, name: str, options: WebhookOptions, now: datetime
) -> dict[str, Any]:
    if options.url is None:
        raise WrongUsage("add where? Say its address with --url")
    if kept.find(connection, name) is not None:
        raise WrongUsage(f'there is a webhook "{name}"; remove it first, or take another name')
    type_names = [each.strip() for each in (options.types or ",".join(USUAL)).split(",")]
    types = list(EVENTS) if type_names == ["all"] else type_names
    if unknown := [each for each in types if each not in EVENTS]:
        raise WrongUsage(
            f'--types: there is no event "{unknown[0]}"; docs/reference/events.md lists them'
        )
    host = origin(options.url, allows_private=options.allow_private)
    keys = WebhookKeys.new(options.url)
    about = {
        "host": host,
        "types": types,
        "workload": options.workload,
        "consumer": options.consumer,
    }
    _keep(name, keys)
    may = {"allows_private": options.allow_private, "sends_outputs": options.outputs}
    kept.add(connection, name=name, **about, **may, now=now)
    secret = keys.secrets[0][0]
    message = f"webhook {name} gets {pluralize(len(types), 'kind')} of events at {host}. Its secret, shown only now: {secret}"
    return {"said": message, "secret": secret, **about}


def _test(
    connection: Connection, to: Subscriber, _: WebhookOptions, now: datetime
) -> dict[str, Any]:
    keys = _keys(to.name)
    body = make_body(TEST, to.workload or "lanes", {}, now)

    async def send() -> float:
        async with WebhookReceiver(keys, allows_private=to.allows_private) as receiver:
            began = time.monotonic()
            await receiver.post(str(uuid4()), body, now)
            return time.monotonic() - began

    try:
        took_ms = round(asyncio.run(send()) * 1000)
    except Undelivered as problem:
        raise SetupError(f"webhook {to.name} did not take the test event: {problem}") from None
    kept.reopen(connection, to, now=now)
    return {"said": f"webhook {to.name} took the test event in {took_ms} ms", "took_ms": took_ms}


def _replay(
    connection: Connection, to: Subscriber, options: WebhookOptions, now: datetime
) -> dict[str, Any]:
    moment = parse_since(options.since, now, "--since ") if options.since else None
    events = kept.replay(connection, to, position=options.from_, since=moment, now=now)
    return {
        "said": f"{pluralize(events, 'event')} will be sent to {to.name} again",
        "events": events,
    }


def _rotate(
    connection: Connection, to: Subscriber, _: WebhookOptions, now: datetime
) -> dict[str, Any]:
    keys = _keys(to.name).rotate(now)
    _keep(to.name, keys)
    kept.change(connection, to.id, secrets_no=to.secrets_no + 1)
    secret, until = keys.secrets[0][0], keys.secrets[1][1]
    message = f"the new secret of {to.name}, shown only now: {secret}. The last one signs too until {until:%Y-%m-%d %H:%M} UTC"
    return {"said": message, "secret": secret, "last_until": until}


def _remove(
    connection: Connection, to: Subscriber, _: WebhookOptions, now: datetime
) -> dict[str, Any]:
    with prefect(Settings.read()) as api:
        api.keep_secret(block_name(to.name), None)
    kept.remove(connection, to, now=now)
    return {"said": f"webhook {to.name} is removed; no more events are sent to it"}


def _keep(name: str, keys: WebhookKeys) -> None:
    with prefect(Settings.read()) as api:
        api.keep_secret(block_name(name), keys.dump())


def _keys(name: str) -> WebhookKeys:
    with prefect(Settings.read()) as api:
        stored = api.block("secret", block_name(name), with_secrets=True)
    if stored is None:
        raise SetupError(
            f'the block "{block_name(name)}" is gone from Prefect: remove the webhook and add it again'
        )
    return WebhookKeys.read(stored["value"])


def _list(rows: Sequence[Any], now: datetime, *, as_json: bool) -> None:
    if as_json:
        print_json([dict(each._mapping) for each in rows])
    elif not rows:
        print("There is no webhook; `lanes webhooks add NAME --url URL` adds one.")
    else:
        ahead = "events after its position, which were not sent yet"
        print_table(
            Table(
                "Webhooks",
                rows,
                label("Name", lambda of: of.name),
                label("Host", lambda of: plain(of.host, most=60)),
                label("Of", lambda of: plain(of.consumer or of.workload or "all", most=40)),
                label("Position", lambda of: str(of.position)),
                phrase("Ahead", ahead, lambda of: str(of.last - of.position)),
                phrase("Again", "events that are tried again", lambda of: str(of.waiting)),
                phrase(
                    "Given up",
                    "after seven attempts; replay sends them",
                    lambda of: str(of.given_up),
                ),
                label(
                    "Last taken",
                    lambda of: clock(of.delivered_at, beside=now) if of.delivered_at else MISSING,
                ),
                label(
                    "State",
                    lambda of: (
                        f"gone since {clock(of.gone_at, beside=now)}"
                        if of.gone_at
                        else f"rests until {clock(of.rest_until, beside=now)}"
                        if of.rest_until
                        else "open"
                    ),
                ),
                label("Trouble", lambda of: plain(of.last_error or "", most=80)),
            ),
            width=140,
        )
