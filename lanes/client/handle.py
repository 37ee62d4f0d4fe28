"""The handle for synchronous programs."""

from collections.abc import Collection, Generator, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Self, Unpack

from sqlalchemy import URL, Connection, Engine

from lanes.chunks import MOST_BYTES, chunks
from lanes.client import following, lookout, verbs
from lanes.client.following import Following
from lanes.client.places import place
from lanes.client.verbs import CHUNK, Fields, Sent, Verbs
from lanes.doors.item import Submission
from lanes.errors import Refused
from lanes.payload import weight
from lanes.settling.listing import Listed, Wanted
from lanes.store.database import clock
from lanes.store.settling.results import Result
from lanes.store.workload import workloads


class Lanes:
    """Sends items and reads their answers. It keeps its connections: make one for a program, share it between threads, and
    close it at the end, or use it as a context manager.

        with Lanes() as lanes:
            lanes.submit("tickets", {"text": "..."}, key="t-1", urgent=True)
            lanes.wait("tickets", "t-1", reader="support-desk", timeout_s=10)

    It works on the address of a database, on an engine of SQLAlchemy (whose connections it borrows), or within the
    transaction of a connection (of an ORM session: `session.connection()`): then what it writes is committed, or rolled
    back, with the caller's own rows, and never by the handle. None: the database of `LANES_DATABASE_URL`, else of this
    checkout's stand.

        with engine.begin() as connection:
            connection.execute(insert(ticket).values(id="t-1"))
            Lanes(connection).submit("tickets", {"text": "..."}, key="t-1")

    On an address `connections` are opened at most, and who needs one more waits for it for up to 30 s. What another
    transaction holds is waited for for up to `patience_s` seconds.

    Raises, here and from every method, what `lanes.errors` tells, with the driver's error as its cause:
        DatabaseAway: the database does not answer (a connection is tried for 5 s), or no connection was free.
        StillLocked: another transaction holds the item for longer than `patience_s`, or moved what this one relies on.
        SetupError: no database is known, the address is none, or the schema of Lanes is not there.
        TransactionUnfit: the connection that was given is closed, failed before, or has no transaction.
        Refused: a name or a field cannot be read.
    """

    def __init__(
        self, where: str | URL | Engine | Connection | None = None, *, connections: int = 6, patience_s: float = 10
    ) -> None:
        self._place = place(where, connections)
        self._verbs = Verbs(timedelta(seconds=patience_s), ours=self._place.ours)

    def submit(self, workload: str, payload: Mapping[str, Any], *, key: str | None = None, **fields: Unpack[Fields]) -> Sent:
        """The item exists, or the refusal says why not: see `Sent`, and its `raise_for_refusal`.

        With a key it may be repeated whenever what became of it is not known.
        """
        return self.submit_many(workload, [{"payload": dict(payload), "key": key, **fields}])[0]

    def submit_many(self, workload: str, inputs: Iterable[Mapping[str, Any]]) -> list[Sent]:
        """What became of each input, in order; admitted 500 to a transaction, or fewer where they are large.

        An input has a `payload`, and what else an event has: `key`, and `Fields`.

        Raises:
            Refused: an input is malformed; those before it are admitted.
            StillLocked: somebody's open transaction has submitted one of the keys; the chunks before it are admitted.
        """
        sent: list[Sent] = []
        for chunk in chunks(inputs, most=CHUNK, most_bytes=MOST_BYTES, weight=weight):
            with self._place.transaction() as connection:
                now = clock(connection)
                asked, refused = _well_formed(workload, chunk, now)
                admitted = self._verbs.admit(connection, asked, now)
            sent += admitted
            if refused is not None:
                raise refused
        return sent

    def amend(self, workload: str, key: str, payload: Mapping[str, Any], *, occurred_at: datetime | None = None) -> Sent:
        """The item's payload is this from now on. `outcome` is amended, duplicate, waiting (no item yet), outdated (one that
        occurred later is in force; this one is kept), or a refusal."""
        with self._place.transaction() as connection:
            return self._verbs.amend(connection, workload, key, payload, occurred_at)

    def cancel(self, workload: str, key: str) -> bool:
        """Whether the item is withdrawn; False: it is settled, and its answer stands.

        Raises:
            UnknownWorkload, UnknownItem: there is none.
        """
        with self._place.transaction() as connection:
            return self._verbs.cancel(connection, workload, key)

    def label(self, workload: str, key: str, expected: Mapping[str, Any], *, source: str = "client") -> None:
        """What is right for the item is known; the newest label of a source counts.

        Raises:
            UnknownWorkload, UnknownItem: there is none.
        """
        with self._place.transaction() as connection:
            self._verbs.label(connection, workload, key, expected, source)

    def read_result(self, workload: str, key: str, *, reader: str) -> Result | None:
        """The item's current result, None while there is none; the read is recorded.

        Raises:
            AnswerEmptied: there was one, and it is no longer kept.
        """
        with self._place.transaction() as connection:
            return self._verbs.read_result(connection, workload, key, reader)

    def wait(self, workload: str, key: str, *, reader: str, timeout_s: float = 30, settled: bool = False) -> Result | None:
        """The item's result as soon as there is one (`settled`: an authoritative one); the read is recorded.

        None when `timeout_s` seconds passed first. However many wait in a process, they share two connections, which are
        none of this handle's.

        Raises:
            UnknownWorkload, UnknownItem: there is no such item. One sent as an event exists only once it is admitted.
            ItemFailed, ItemCanceled, AnswerEmptied: it gets no such result any more; at once, however much time is left.
            DatabaseAway: the database did not answer at the beginning, or not for 10 s at the end.
            TransactionUnfit: the handle works within a transaction.
        """
        asked = verbs.sought(workload, key, reader, settled=settled)
        return lookout.wait(self._place.address(), asked, timeout_s=timeout_s)

    def results(
        self,
        workload: str,
        *,
        states: Collection[str] = (),
        since: datetime | None = None,
        reader: str | None = None,
        follow: bool = False,
        quiet_s: float | None = None,
    ) -> Generator[Listed]:
        """The workload's items with their current answers, in the order in which they were received.

        Only those in one of the `states`, where some are named, and which stand as they do since `since`. They come in pages:
        between two of them nothing is open. With a `reader` it is recorded that they read the answers, as a page is fetched;
        of an item that somebody has locked just then it is not, or later where one follows.

        With `follow` it goes on with each item whose answer comes, is corrected or settled, or that fails, as it stands then,
        however late that is committed: an item may come again, and its last one counts. It is over once nothing has come for
        `quiet_s` seconds, or when whoever follows leaves. A program that begins again names in `since` when it ended, less
        the longest transaction.

            for item in lanes.results("tickets", follow=True, reader="dashboard"):
                print(item.key, item.state, item.output)

        Raises:
            UnknownWorkload: there is no such workload.
            DatabaseAway: the database does not answer; once one follows, not for a minute.
            TransactionUnfit: the handle works within a transaction, in which nobody follows.
        """
        wanted = verbs.wanted(workload, states, since, follow=follow, reader=reader)
        if follow:
            yield from following.follow(self._place, self._begin(wanted, reader), quiet_s)
            return
        with self._place.transaction() as connection:
            workloads.check_known(connection, wanted.workload)
        onwards: int | None = 0
        while onwards is not None:
            with self._place.transaction() as connection:
                page = verbs.page(connection, wanted, onwards, reader)
            yield from page.items
            onwards = page.onwards

    def _begin(self, wanted: Wanted, reader: str | None) -> Following:
        self._place.address()  # within a transaction nobody follows
        with self._place.transaction() as connection:
            workloads.check_known(connection, wanted.workload)
            return Following(connection, wanted, reader)

    def close(self) -> None:
        """Its connections are given back; an engine or a connection that was given stays as it is."""
        self._place.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _well_formed(workload: str, inputs: Iterable[Mapping[str, Any]], now: datetime) -> tuple[list[Submission], Refused | None]:
    """The inputs up to the first malformed one, and its refusal."""
    asked: list[Submission] = []
    for fields in inputs:
        try:
            asked.append(verbs.read(workload, fields, now))
        except Refused as refused:
            return asked, refused
    return asked, None
