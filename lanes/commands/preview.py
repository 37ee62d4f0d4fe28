"""`lanes preview`: the requests and the cost of one item, without sending it."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, validators
from rich.text import Text
from sqlalchemy import Connection, text

from lanes.commands import running
from lanes.commands.options import AsJson, Columns
from lanes.commands.running import WrongUsage, check_file, command, transaction
from lanes.doors.filedoor import LONGEST_LINE, FileLine, Layout, read_item, read_lines
from lanes.doors.item import Refusal, Submission
from lanes.errors import Refused, SetupError, SpecInvalid, UnknownWorkload
from lanes.ids import VersionId
from lanes.money.cost import prompt_tokens
from lanes.money.estimates import Estimates
from lanes.packing import history_chars
from lanes.provider.requests import Question, parameters
from lanes.report.summary import lane_name, reason_name
from lanes.report.table import Table, label
from lanes.routing.forecast import LaneConditions, build_arrived_item
from lanes.routing.route import ArrivedItem, Route, decide
from lanes.routing.split import BUCKETS, Split, Splits
from lanes.store.doors import full_data, items
from lanes.store.money import sharing
from lanes.store.routing import turnarounds
from lanes.store.workload import workloads
from lanes.text import plain
from lanes.units import count, pluralize, usd
from lanes.words import Lane, Reason
from lanes.workload import definition_file as workload_file
from lanes.workload.context import CUT, ContextPart, ContextTag, part_chars
from lanes.workload.version import NAME, Version


@dataclass(frozen=True)
class Asked:
    """A lane's request for the item alone.

    Tokens and price are the routing estimates for its part of a full pack of `pack` items, with the history that a batch reads.
    """

    lane: Lane
    model: str
    request: dict[str, Any]
    pack: int
    input_tokens: int
    output_tokens: int
    usd: Decimal


@dataclass(frozen=True)
class ItemPreview:
    """The route that the item would get if it arrived now, and the request of each lane."""

    route: Route
    lanes: tuple[Asked, ...]
    notes: tuple[str, ...]


def preview_item(
    item: ArrivedItem,
    version: Version,
    lanes: LaneConditions,
    *,
    keyed: bool,
    payload_bytes: int,
    context: Sequence[ContextPart],
    now: datetime,
) -> ItemPreview:
    """Return the item's requests and costs; `item` and `context` are as the database would store them, oldest first.

    `keyed` states that the sender gave the item a key. Budgets and the load of the real-time lane are ignored.

    Raises:
        LookupError: no price is known for one of the version's models.
    """
    history = [part_chars(each) for each in context if each.part is ContextTag.HISTORY]
    item = item._replace(earlier=tuple(reversed(history)))
    estimates = Estimates(now, lanes.sharing)
    route = decide(
        item, version, lanes.splits, now=now, estimates=estimates, prospects=lanes.prospects
    )
    packs = {lane: lanes.sharing.pack_of(version, lane) for lane in Lane}
    read = {Lane.REALTIME: (), Lane.BATCH: tuple(context)}
    context_chars = {
        Lane.REALTIME: 0,
        Lane.BATCH: history_chars(history) + version.spec.context.reference_chars,
    }
    costs = {Lane.REALTIME: route.realtime_usd, Lane.BATCH: route.batch_usd}
    asked = tuple(
        Asked(
            lane=lane,
            model=version.spec.model_of(lane),
            request=parameters(version, lane, [Question("1", dict(item.payload), read[lane])]),
            pack=packs[lane],
            input_tokens=round(
                prompt_tokens(version.spec, packs[lane], item.characters, context_chars[lane])
            ),
            output_tokens=version.spec.expected_output_tokens,
            usd=costs[lane],
        )
        for lane in Lane
    )
    notes = [
        *_describe_size(version, payload_bytes),
        *_describe_route(item, version, route, lanes.splits, keyed=keyed, now=now),
        *(
            f"on the {lane} lane up to {pack} items share a request, each within <item>; below it is alone"
            for lane, pack in packs.items()
            if pack > 1
        ),
    ]
    if history:
        seen = pluralize(len(history), "earlier item")
        notes.append(f"a batch also sees {seen} of its entity, which its estimates count")
    for source, part in zip(
        version.spec.context.reference,
        [each for each in context if each.part is ContextTag.REFERENCE],
        strict=True,
    ):
        cut = "; what is beyond rows or bytes is cut" if part.content.endswith(CUT) else ""
        notes.append(
            f'a batch also sees rows of {source.relation} as "{source.name}", of which its estimates count '
            f"{source.bytes:,} bytes{cut}"
        )
    return ItemPreview(route, asked, tuple(notes))


def _describe_size(version: Version, payload_bytes: int) -> Iterator[str]:
    most = version.spec.max_payload_kib
    if payload_bytes > most * 1024:
        yield f"the door would refuse it: {payload_bytes:,} bytes, and max_payload_kib takes {most} KiB"


def _describe_route(
    item: ArrivedItem, version: Version, route: Route, splits: Splits, *, keyed: bool, now: datetime
) -> Iterator[str]:
    if route.lane is Lane.BATCH:
        window = version.spec.window
        leaves = window.next_departure(now).astimezone(window.zone)
        yield f"its batch leaves on {leaves:%Y-%m-%d at %H:%M} ({window.zone.key}), or earlier for a deadline"
    share = splits.of(item.workload, item.consumer).basis_points
    if route.reason is Reason.SPLIT and not keyed and item.entity is None and 0 < share < BUCKETS:
        yield "it has no key: which side of the split it falls on is known only once it is sent"


STDIN = Path("-")
Positive = validators.Number(gte=1)


@command
def preview(
    workload: str,
    *,
    item: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    line: Annotated[int | None, Parameter(validator=Positive)] = None,
    columns: Columns = Columns(),
    lane: Lane | None = None,
    as_json: AsJson = False,
) -> None:
    """Show the exact request of one item on each lane, its tokens and price (estimates), and the route it would get.

    WORKLOAD is a published one, or the path of a workload file. Nothing is sent, nothing is written.
    Exit code 1 when the item or the workload file is not valid, 2 when there is no such workload, file or line.

    Example: lanes preview tickets.yaml --item messages.csv --field text

    Args:
        workload: Name of a published workload, or path of a workload file.
        item: A JSON, JSONL or CSV file; - is JSON on standard input.
        line: Its line in a JSONL or CSV file. The default: the first.
        lane: Show only the request of this lane.
    """
    file = None if NAME.fullmatch(workload) else Path(workload)
    for each in (file, item):
        if each is not None and each != STDIN:
            check_file(each)
    with transaction() as (connection, now):
        connection.execute(text("set transaction read only"))
        version, lanes = _definition(connection, workload, file, now)
        try:
            file_line = _item(item, version.workload, columns, line, now)
            sent = file_line.submission
            name, schema = version.workload, version.spec.input_schema
            if reason := items.schema_refusal(connection, name, schema, sent.payload):
                raise Refused("schema_mismatch", reason)
        except Refused as refusal:
            raise SetupError(f"{plain(item)}: {refusal}") from refusal
        except ValueError as error:
            raise WrongUsage(error) from error
        item_preview, payload = preview_submission(connection, version, lanes, sent, now)
    if as_json:
        running.print_json(_data(version, file_line, payload, item_preview))
    else:
        _print(version, file_line, item_preview, lane)


def conditions(connection: Connection, now: datetime) -> LaneConditions:
    """Return the inputs of routing other than the item, budgets and load."""
    return LaneConditions(
        workloads.splits(connection),
        turnarounds.prospects(connection, now=now),
        sharing=sharing.read_cached(connection, now=now),
    )


def _definition(
    connection: Connection, name: str, file: Path | None, now: datetime
) -> tuple[Version, LaneConditions]:
    """Return the version in force, or the one that the file would define, with the other inputs of routing."""
    lanes = conditions(connection, now)
    if file is None:
        version = workloads.current(connection, name)
        if version is None:
            message = f'workload "{name}" has no published version'
            raise UnknownWorkload(f"{message}; a workload file is named by its path")
        return version, lanes
    named_spec = workload_file.read(workload_file.read_bytes(file), file=str(file))
    new_version = Version(
        VersionId(0), named_spec.name, 0, workloads.as_stored(connection, named_spec.spec)
    )
    try:
        in_force = workloads.current(connection, named_spec.name)
    except SpecInvalid:
        return new_version, lanes
    if in_force is not None:
        return new_version, replace(lanes, sharing=lanes.sharing.like(in_force, new_version))
    split = Split(named_spec.name, None, round(named_spec.spec.split_percent * 100))
    return new_version, replace(lanes, splits=Splits([split]))


def _item(file: Path, workload: str, layout: Layout, line: int | None, now: datetime) -> FileLine:
    """Return the item in that line, or the first.

    Raises:
        WrongUsage, ValueError: there is no such item, or the file cannot be read.
        Refused: a door would refuse the item.
    """
    if file == STDIN or file.suffix.lower() == ".json":
        with nullcontext(sys.stdin) if file == STDIN else file.open(encoding="utf-8-sig") as opened:
            content = opened.read(LONGEST_LINE + 1)
        place = f"{'stdin' if file == STDIN else file.name}:1"
        return read_item(content, workload, layout, place=place, now=now)
    for file_line in read_lines(file, workload, layout, now=now):
        place = file_line.place if isinstance(file_line, Refusal) else file_line.submission.place
        if line is not None and place != f"{file.name}:{line}":
            continue
        if isinstance(file_line, Refusal):
            raise Refused(file_line.reason, f"line {place.rpartition(':')[2]}: {file_line.detail}")
        return file_line
    which = f" that begins in line {line}" if line else ""
    raise WrongUsage(f'"{file.name}" has no item{which}')


def preview_submission(
    connection: Connection,
    version: Version,
    lanes: LaneConditions,
    submission: Submission,
    now: datetime,
) -> tuple[ItemPreview, dict[str, Any]]:
    """Return the item's requests and costs, and its payload as the database would store it.

    Raises:
        SetupError: no price is known for a model of the workload, or reference rows cannot be read.
    """
    payload, size = items.as_stored(connection, submission.payload)
    before, consumer = submission.occurred_at or now, submission.consumer
    read = full_data.earlier_of_entity(
        connection, version, submission.entity, before=before, consumer=consumer
    )
    keyed = {"": {"payload": payload, "consumer": consumer}}
    try:
        rows = full_data.load(connection, version, keyed).get("", ())
        item_preview = preview_item(
            build_arrived_item(replace(submission, payload=payload), now),
            version,
            lanes,
            keyed=submission.key is not None,
            payload_bytes=size,
            context=(*read, *rows),
            now=now,
        )
    except full_data.ReferenceFailed as failure:
        raise SetupError(f"a batch could not be sent now: {failure}") from None
    except LookupError as unpriced:
        message = f"the item cannot be priced: {unpriced}"
        raise SetupError(f'{message}; correct the model of "{version.workload}"') from None
    return item_preview, payload


def _print(
    version: Version, file_line: FileLine, item_preview: ItemPreview, lane: Lane | None
) -> None:
    console = running.screen(110, highlight=False, soft_wrap=True)
    whose = f"version {version.number}" if version.number else "as its file says"
    item = f"One item of {version.workload} ({whose}), from {plain(file_line.submission.place)}"
    console.print(Text(f"{item}. Nothing is sent."))
    where = f"{lane_name(item_preview.route.lane)} ({reason_name(item_preview.route.reason)})"
    console.print(
        Text(f"It would go to {where}: {plain(item_preview.route.explanation, most=300)}")
    )
    figures: list[tuple[str, Callable[[Asked], str]]] = [
        ("Model", lambda of: of.model),
        ("Input tokens", lambda of: f"about {count(of.input_tokens)}"),
        ("Output tokens", lambda of: f"about {count(of.output_tokens)}"),
        ("Price", lambda of: f"about {usd(of.usd)}"),
    ]
    realtime, batch = item_preview.lanes
    estimates = Table(
        "",
        figures,
        label("Estimates", lambda of: of[0]),
        label(lane_name(realtime.lane), lambda of: of[1](realtime)),
        label(lane_name(batch.lane), lambda of: of[1](batch)),
    )
    running.print_table(estimates, width=110)
    for note in item_preview.notes:
        console.print(Text(f"Note: {note}"))
    if lane is not None:
        (shown,) = (each for each in item_preview.lanes if each.lane is lane)
        print(f"\nThe {lane_name(lane)} request:\n{_pretty(shown.request)}")
        return
    print(f"\nThe {lane_name(realtime.lane)} request:\n{_pretty(realtime.request)}")
    is_same = batch.request == realtime.request
    then = " is the same." if is_same else f":\n{_pretty(batch.request)}"
    print(f"\nThe {lane_name(batch.lane)} request{then}")


def _pretty(request: dict[str, Any]) -> str:
    return json.dumps(request, indent=2, ensure_ascii=False)


def _data(
    version: Version, file_line: FileLine, payload: dict[str, Any], item_preview: ItemPreview
) -> dict[str, Any]:
    route = item_preview.route
    return {
        "workload": version.workload,
        "version": version.number or None,
        "place": file_line.submission.place,
        "key": file_line.submission.key,
        "payload": payload,
        "expected": file_line.expected,
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
            for each in item_preview.lanes
        },
        "notes": item_preview.notes,
    }
