"""`lanes archive`: items that left their tables, with their answers."""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from sqlalchemy import Engine

from lanes.commands.options import AsJson
from lanes.commands.options import since as moment
from lanes.commands.outlet import Outlet, ReaderLeft, counting
from lanes.commands.results import RowForm, check_form
from lanes.commands.running import command, database
from lanes.errors import UnknownItem
from lanes.report.listing import Csv, Jsonl, JsonList
from lanes.settling.listing import Listed, ListingQuery
from lanes.store.database import clock
from lanes.store.doors import archives
from lanes.store.settling import listing


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
    """Get a workload's archived items out, each with its answer, as `lanes results` does with those that are not archived.

    `lanes archive query tickets --since 365d --csv > tickets.csv`

    They come as JSON lines unless told otherwise. No read is recorded. The workload says by `archive_after_days` when an item
    is archived.

    Exit code 2 when there is no such workload or archived item, or a moment cannot be read.

    Args:
        what: What is done with them.
        workload: Whose items.
        key: Only the item of this key.
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
            said = Csv(schemas) if form.csv else JsonList() if as_json else Jsonl()
            outlet = Outlet()
            outlet.write(said.begin())
            with counting(workload) as written:
                for items in pages:
                    outlet.write(said.rows(items))
                    written.add(len(items))
            outlet.write(said.end())
    except ReaderLeft:
        return 0
    return 0


def _one(pool: Engine, workload: str, key: str) -> list[Listed]:
    with pool.begin() as connection:
        place = archives.place_of(connection, workload, key)
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
    """Yield the items of one archive after the other; no transaction is open between two of them."""
    after = 0
    while True:
        with pool.begin() as connection:
            of = {"after": after, "since": since, "until": until}
            archive = archives.next_of(connection, workload, **of)
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
