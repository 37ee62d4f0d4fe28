"""`lanes preview`: what one item would ask and cost, with nothing sent."""

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, validators
from rich import box
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection, Engine, text

from lanes.commands.options import AsJson, Columns
from lanes.commands.running import on_database, print_json, screen
from lanes.doors.filedoor import LONGEST_LINE, BadLine, FileLine, Layout, read_item, read_lines
from lanes.doors.item import Submission
from lanes.errors import LanesError, Refused, SetupError, SpecInvalid, UnknownWorkload
from lanes.ids import VersionId
from lanes.money.estimates import Sharing
from lanes.provider.preview import Preview
from lanes.provider.preview import preview as preview_item
from lanes.report.summary import lane_name, reason_name
from lanes.routing.forecast import arrived
from lanes.routing.split import Split, Splits
from lanes.store.database import clock
from lanes.store.doors import history, items
from lanes.store.money import sharing
from lanes.store.routing import turnarounds
from lanes.store.workload import workloads
from lanes.text import plain
from lanes.units import count, usd
from lanes.workload import definition_file as workload_file
from lanes.workload.version import NAME, Version

STDIN = Path("-")
Positive = validators.Number(gte=1)
AtLine = Annotated[
    int | None,
    Parameter(validator=Positive, help="Its line in a JSONL or CSV file; else the first."),
]


class NoItem(LanesError):
    """The file holds no item there."""


def preview(
    workload: Annotated[
        str, Parameter(help="Name of a published workload, or path of a workload file.")
    ],
    *,
    item: Annotated[
        Path,
        Parameter(
            allow_leading_hyphen=True,
            help="A JSON, JSONL or CSV file; - is JSON on standard input.",
        ),
    ],
    line: AtLine = None,
    columns: Columns = Columns(),  # noqa: B008
    as_json: AsJson = False,
) -> int:
    """Show the exact request of one item on each lane, its tokens and price (estimates), and the route it would get.

    WORKLOAD is a published one, or the path of a workload file. Nothing is sent, nothing is written.
    Exit code 1 when the item or the workload file is not valid, 2 when there is no such workload, file or line.

    Example: lanes preview tickets.yaml --item messages.csv --field text
    """
    file = None if NAME.fullmatch(workload) else Path(workload)
    for each in (file, item):
        if each is not None and each != STDIN and not each.is_file():
            print(f'there is no file "{each}"', file=sys.stderr)
            return 2

    def show(pool: Engine) -> int:
        with pool.begin() as connection:
            connection.execute(text("set transaction read only"))
            now = clock(connection)
            version, splits, shares = _definition(connection, workload, file, now)
            try:
                found = _item(item, version.workload, columns, line, now)
                _check_input(connection, version, found)
            except Refused as refusal:
                print(f"{plain(item)}: {refusal}", file=sys.stderr)
                return 1
            except (ValueError, NoItem) as error:
                print(str(error), file=sys.stderr)
                return 2
            told, payload = previewed(connection, version, splits, shares, found.submission, now)
        if as_json:
            print_json(_data(version, found, payload, told))
        else:
            _print(version, found, told)
        return 0

    return on_database(show)


def _definition(
    connection: Connection, name: str, file: Path | None, now: datetime
) -> tuple[Version, Splits, Sharing]:
    """Return the version in force, or the one that the file would make, with the splits and the sharing of calls."""
    splits, shares = workloads.splits(connection), sharing.known(connection, now=now)
    if file is None:
        version = workloads.current(connection, name)
        if version is None:
            raise UnknownWorkload(
                f'workload "{name}" has no published version; a workload file is named by its path'
            )
        return version, splits, shares
    wanted = workload_file.read(workload_file.bytes_of(file), file=str(file))
    try:
        in_force = workloads.current(connection, wanted.name)
        known = in_force is not None
    except SpecInvalid:
        in_force, known = None, True
    if not known:
        splits = Splits([Split(wanted.name, None, round(wanted.spec.split_percent * 100))])
    made = Version(VersionId(0), wanted.name, 0, workloads.as_stored(connection, wanted.spec))
    return made, splits, shares if in_force is None else shares.like(in_force, made)


def _item(file: Path, workload: str, layout: Layout, line: int | None, now: datetime) -> FileLine:
    """Return the item in that line, or the first.

    Raises:
        ValueError, NoItem: there is none.
        Refused: a door would refuse it.
    """
    if file == STDIN or file.suffix.lower() == ".json":
        with nullcontext(sys.stdin) if file == STDIN else file.open(encoding="utf-8-sig") as opened:
            said = opened.read(LONGEST_LINE + 1)
        return read_item(
            said, workload, layout, place=f"{'stdin' if file == STDIN else file.name}:1", now=now
        )
    for each in read_lines(file, workload, layout, now=now):
        place = each.place if isinstance(each, BadLine) else each.submission.place
        if line is not None and place != f"{file.name}:{line}":
            continue
        if isinstance(each, BadLine):
            raise Refused(each.reason, f"line {place.rpartition(':')[2]}: {each.detail}")
        return each
    raise NoItem(f'"{file.name}" has no item' + (f" that begins in line {line}" if line else ""))


def _check_input(connection: Connection, version: Version, found: FileLine) -> None:
    """Raise Refused where the doors would refuse the item by its workload's input schema."""
    of = version.workload
    if said := items.schema_refusal(
        connection, of, version.spec.input_schema, found.submission.payload
    ):
        raise Refused("schema_mismatch", said)


def previewed(
    connection: Connection,
    version: Version,
    splits: Splits,
    shares: Sharing,
    sent: Submission,
    now: datetime,
) -> tuple[Preview, dict[str, Any]]:
    """Return what the item would ask and cost, and its payload as the database would hold it.

    Raises:
        SetupError: no price is known for a model of the workload.
    """
    payload, size = items.as_stored(connection, sent.payload)
    earlier = history.of_entity(
        connection,
        version.workload,
        sent.entity,
        before=sent.occurred_at or now,
        most=version.spec.history_items,
        consumer=sent.consumer,
        scope=version.spec.pack_scope,
    )
    try:
        told = preview_item(
            arrived(replace(sent, payload=payload), now),
            version,
            splits,
            keyed=sent.key is not None,
            payload_bytes=size,
            history=earlier,
            now=now,
            prospects=turnarounds.prospects(connection, now=now),
            sharing=shares,
        )
    except LookupError as unpriced:
        raise SetupError(
            f'the item cannot be priced: {unpriced}; correct the model of "{version.workload}"'
        ) from None
    return told, payload


def _print(version: Version, found: FileLine, told: Preview) -> None:
    console = screen(110, highlight=False, soft_wrap=True)
    whose = f"version {version.number}" if version.number else "as its file says"
    console.print(
        Text(
            f"One item of {version.workload} ({whose}), from {plain(found.submission.place)}. Nothing is sent."
        )
    )
    route = told.route
    why = plain(route.explanation, most=300)
    console.print(
        Text(f"It would go to {lane_name(route.lane)} ({reason_name(route.reason)}): {why}")
    )
    lanes = [lane_name(each.lane) for each in told.lanes]
    table = Table("Estimates", *lanes, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_row("Model", *(plain(each.model) for each in told.lanes))
    table.add_row("Input tokens", *(f"about {count(each.input_tokens)}" for each in told.lanes))
    table.add_row("Output tokens", *(f"about {count(each.output_tokens)}" for each in told.lanes))
    table.add_row("Price", *(f"about {usd(each.usd)}" for each in told.lanes))
    console.print(table)
    for note in told.notes:
        console.print(Text(f"Note: {note}"))
    realtime, batch = told.lanes
    print(f"\nThe {lanes[0]} request:\n{_pretty(realtime.request)}")
    same = batch.request == realtime.request
    print(
        f"\nThe {lanes[1]} request" + (" is the same." if same else f":\n{_pretty(batch.request)}")
    )


def _pretty(request: dict[str, Any]) -> str:
    return json.dumps(request, indent=2, ensure_ascii=False)


def _data(
    version: Version, found: FileLine, payload: dict[str, Any], told: Preview
) -> dict[str, Any]:
    route = told.route
    return {
        "workload": version.workload,
        "version": version.number or None,
        "place": found.submission.place,
        "key": found.submission.key,
        "payload": payload,
        "expected": found.expected,
        "route": {"lane": route.lane, "reason": route.reason, "explanation": route.explanation},
        "lanes": {
            each.lane: {
                "model": each.model,
                "input_tokens_estimate": each.input_tokens,
                "output_tokens_estimate": each.output_tokens,
                "usd_estimate": str(each.usd),
                "pack": each.pack,
                "request": each.request,
            }
            for each in told.lanes
        },
        "notes": told.notes,
    }
