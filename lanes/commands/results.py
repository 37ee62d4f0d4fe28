"""`lanes results`: a workload's items with their current answers; `lanes archive`: archived items with their answers."""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cyclopts import Parameter
from rich.markup import escape
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from lanes.commands.options import AsJson
from lanes.commands.options import parse_since as moment
from lanes.commands.running import Outlet, ReaderLeft, WrongUsage, command, counting, database
from lanes.errors import UnknownItem
from lanes.json_data import why_unstorable
from lanes.report.listing import Csv, Format, Jsonl, JsonList, table
from lanes.settling.listing import BEGIN, END, TOLD, Listed, ListingPlace, ListingQuery
from lanes.stand.progress import Console
from lanes.store.database import clock
from lanes.store.doors import archives
from lanes.store.settling import listing
from lanes.store.settling.results import News, record_reads
from lanes.units import pluralize
from lanes.words import ItemState

SHOWN = 50  # items in the table
POLL_S = 0.5
OUTAGE_S = 60.0  # how long to wait for an unavailable database while following


@Parameter(name="*")
@dataclass(frozen=True)
class RowForm:
    """The format in which items are written.

    Attributes:
        csv: CSV with a column for each field of the output.
        jsonl: A JSON object a line.
    """

    csv: bool = False
    jsonl: bool = False


@command
def results(
    workload: str,
    *,
    since: str | None = None,
    state: list[str] | None = None,
    form: RowForm = RowForm(),
    as_json: AsJson = False,
    follow: bool = False,
    reader: str | None = None,
) -> int:
    """Export a workload's items, each with its current answer, in the order in which they were received.

    On a terminal the last 50 are shown as a table; into a file or a pipe all of them are written, as JSON lines by default.
    A read is recorded only if --reader names the reader of the answers.

    `lanes results tickets --csv --since 1d > tickets.csv`

    `lanes results tickets --state failed,canceled`

    `lanes results tickets --jsonl --follow --reader crm | while read -r line; do ...; done`

    In CSV the fields of the output are columns output.FIELD in the order of the workload's schema, and those of the newest
    label label.FIELD; fields outside the schema are in output_rest and label_rest. Text that a spreadsheet would interpret as a
    formula gets a leading apostrophe. JSON is exact.

    With --follow the list continues with every item whose answer arrives, is corrected or settled, or that fails, however late
    its transaction is committed; of several lines with one key, the last counts. Ctrl-C ends it with exit code 0.

    Exit code 2 when there is no such workload, or a moment or a state cannot be read.

    Args:
        since: Only items whose current state began since then: a span such as 2h or 1d, or an ISO 8601 moment.
        state: Only items in this state; separate several by commas, or repeat the option.
        follow: Continue with new and corrected answers as they arrive, until Ctrl-C.
        reader: Name of the reader of the answers: each read is recorded with its time.
    """
    states = _states(state or [], follow)
    check_form(form, as_json)
    if follow and as_json:
        raise WrongUsage("a JSON list that is followed has no end: give --jsonl with --follow")
    _check_reader(reader)
    for each in (signal.SIGINT, signal.SIGTERM) if follow else ():
        # both signals must end it, also in the background of a script, where a shell starts processes with SIGINT ignored
        signal.signal(each, signal.default_int_handler)
    try:
        with database() as pool:
            # required by `News`: each statement must see the newest commits
            pool = pool.execution_options(isolation_level="READ COMMITTED")
            with pool.begin() as connection:
                schemas = listing.schemas(connection, workload)
                since_ = moment(since, clock(connection), "--since ") if since is not None else None
                query = ListingQuery(workload, states, since_)
                news = News(connection, workload) if follow else None
            if form.csv:
                _write(pool, query, news, Csv(schemas), reader)
            elif as_json:
                _write(pool, query, news, JsonList(), reader)
            elif form.jsonl or not sys.stdout.isatty():
                _write(pool, query, news, Jsonl(), reader)
            else:
                _show(pool, query, news, reader)
    except ReaderLeft:
        return 0
    except KeyboardInterrupt:
        if not follow:
            print("interrupted: this is not all of it", file=sys.stderr)
            return 1
    return 0


def check_form(form: RowForm, as_json: bool) -> None:
    """Raise WrongUsage if more than one output format is given."""
    if form.csv + form.jsonl + as_json > 1:
        raise WrongUsage("give one of --csv, --jsonl and --json")


def _check_reader(reader: str | None) -> None:
    if reader is None:
        return
    if not reader.strip():
        raise WrongUsage("--reader is empty: name the program or person that takes the answers")
    if (problem := why_unstorable(reader, "--reader")) is not None:
        raise WrongUsage(problem)


def _states(given: list[str], follow: bool) -> list[ItemState]:
    names = [name.strip() for each in given for name in each.split(",")]
    for name in names:
        if name not in list(ItemState):
            raise WrongUsage(f'--state "{name}" is none: {", ".join(ItemState)}')
    if follow and names and not set(names) & set(TOLD):
        message = f"--follow tells of items that are {', '.join(TOLD)}"
        raise WrongUsage(f"{message}: name one of these states, or leave --state out")
    return [ItemState(name) for name in names]


def _write(
    pool: Engine, query: ListingQuery, news: News | None, form: Format, reader: str | None
) -> None:
    outlet = Outlet()
    outlet.write(form.begin())
    with counting(query.workload) as written:
        for items in pages(pool, query, reader):
            outlet.write(form.rows(items))
            written.add(len(items))
    outlet.write(form.end())
    if news is not None:
        print(f"following {query.workload}: Ctrl-C ends it", file=sys.stderr)
        for items in follow_news(pool, query, news, _pause(outlet), reader):
            outlet.write(form.rows(items))


def _show(pool: Engine, query: ListingQuery, news: News | None, reader: str | None) -> None:
    console = Console(highlight=False)
    with Console(stderr=True).status(f"{escape(query.workload)}: looking"):
        last = newest(pool, query, most=SHOWN + 1)
    console.print(table(last[-SHOWN:], width=console.width))
    with pool.begin() as connection:
        record_reads(connection, query.workload, last[-SHOWN:], reader)
    if len(last) > SHOWN:
        all_of_them = f"`lanes results {query.workload} --csv > FILE` (or --jsonl, --json)"
        more = f"there are more: {all_of_them} gets all of them out."
        console.print(f"The last {SHOWN} that were received; {more}", markup=False)
    else:
        console.print(f"{pluralize(len(last), 'item')}." if last else "No item.")
    if news is not None:
        console.print("Following: Ctrl-C ends it.")
        for items in follow_news(pool, query, news, _pause(Outlet()), reader):
            console.print(table(items, width=console.width, headed=False))


def pages(pool: Engine, query: ListingQuery, reader: str | None) -> Iterator[list[Listed]]:
    """Yield all matching items, one page at a time, and record their reads; no transaction is open between two pages."""
    onwards: ListingPlace | None = BEGIN
    while onwards is not None:
        with pool.begin() as connection:
            page = listing.page(connection, query, onwards=onwards)
            record_reads(connection, query.workload, page.items, reader)
        yield page.items
        onwards = page.onwards


def newest(pool: Engine, query: ListingQuery, *, most: int) -> list[Listed]:
    """Return the last `most` items that were received, the newest at the end."""
    rows: list[Listed] = []
    place: ListingPlace | None = END
    while place is not None and len(rows) < most:
        with pool.begin() as connection:
            page = listing.page(connection, query, onwards=place, order=listing.NEWEST_FIRST)
        rows += page.items
        place = page.onwards
    return rows[:most][::-1]


def follow_news(
    pool: Engine,
    query: ListingQuery,
    news: News,
    pause: Callable[[], None],
    reader: str | None = None,
) -> Iterator[list[Listed]]:
    """Yield the matching items that have changed, in their current state; call `pause` while there are none.

    The read of an item that another transaction has locked is recorded later. If the database is unavailable, wait for it; no
    change that was committed in between is missed.

    Raises:
        OperationalError: the database was unavailable for longer than a minute.
    """
    followed_query = query.narrow_for_follower()
    locked: Sequence[Listed] = ()
    well_at = time.monotonic()
    while True:
        try:
            with pool.begin() as connection:
                items = listing.among(connection, followed_query, news.read(connection))
                unrecorded = record_reads(connection, query.workload, [*locked, *items], reader)
        except OperationalError:
            if time.monotonic() - well_at > OUTAGE_S:
                raise
            pause()
            continue
        news.confirm_read()
        locked = unrecorded
        if items:
            yield items
        well_at = time.monotonic()  # the time that a slow reader takes is not an outage
        if not news.more:
            pause()


def _pause(outlet: Outlet) -> Callable[[], None]:
    def pause() -> None:
        outlet.look()
        time.sleep(POLL_S)

    return pause


@command
def archive(
    what: Literal["query"],
    workload: str,
    /,
    *,
    key: str | None = None,
    since: str | None = None,
    until: str | None = None,
    form: RowForm = RowForm(),
    as_json: AsJson = False,
) -> int:
    """Export a workload's archived items, each with its answer, as `lanes results` does for items that are not archived.

    `lanes archive query tickets --since 365d --csv > tickets.csv`

    The default format is JSON lines. No read is recorded. The workload's `archive_after_days` sets when an item is archived.

    Exit code 2 when there is no such workload or archived item, or a moment cannot be read.

    Args:
        what: The action.
        workload: The workload whose items are exported.
        key: Only the item with this key.
        since: Only items received since then: a span such as 90d, or an ISO 8601 moment.
        until: Only items received before then: as --since.
    """
    check_form(form, as_json)
    try:
        with database() as pool:
            with pool.begin() as connection:
                schemas, now = listing.schemas(connection, workload), clock(connection)
            first = None if since is None else moment(since, now, "--since ")
            last = None if until is None else moment(until, now, "--until ")
            pages = (
                _pages(pool, workload, first, last) if key is None else [_one(pool, workload, key)]
            )
            output_format = Csv(schemas) if form.csv else JsonList() if as_json else Jsonl()
            outlet = Outlet()
            outlet.write(output_format.begin())
            with counting(workload) as written:
                for items in pages:
                    outlet.write(output_format.rows(items))
                    written.add(len(items))
            outlet.write(output_format.end())
    except ReaderLeft:
        return 0
    return 0


def _one(pool: Engine, workload: str, key: str) -> list[Listed]:
    with pool.begin() as connection:
        place = archives.find_place(connection, workload, key)
        if place is None:
            raise UnknownItem(
                f'workload "{workload}" has no archived item "{key}": see `lanes explain {workload} {key}`'
            )
        item, archive = place
        with archives.brought_back(connection, archive, [item]) as ids:
            return listing.among(connection, ListingQuery(workload), ids)


def _pages(
    pool: Engine, workload: str, since: datetime | None, until: datetime | None
) -> Iterator[list[Listed]]:
    """Yield the items of one archive after the other; no transaction is open between two archives."""
    after = 0
    while True:
        with pool.begin() as connection:
            of = {"after": after, "since": since, "until": until}
            archive = archives.find_next(connection, workload, **of)
            if archive is None:
                return
            with archives.brought_back(connection, archive) as ids:
                found = listing.among(connection, ListingQuery(workload), ids)
        yield [
            each
            for each in found
            if (since is None or each.received_at >= since)
            and (until is None or each.received_at < until)
        ]
        after = archive
