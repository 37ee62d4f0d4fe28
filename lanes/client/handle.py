"""The handle for synchronous programs."""

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar, TypeVarTuple, Unpack

from sqlalchemy import URL, Connection, Engine

from lanes.client import following, lookout, verbs
from lanes.client.following import CorrectionWatch, Following, Job
from lanes.client.places import place
from lanes.client.verbs import CHUNK, Fields, Sent, Verbs
from lanes.json_data import weight
from lanes.packing import MOST_BYTES, chunks
from lanes.settling.listing import BEGIN, Listed, ListingPlace, ListingQuery
from lanes.store.database import clock
from lanes.store.settling import results
from lanes.store.settling.results import CorrectedRead, Result
from lanes.store.workload import workloads

Args = TypeVarTuple("Args")
T = TypeVar("T")


class Lanes:
    """A handle that sends items and reads their answers.

    It holds a pool of connections: create one for a program, share it between threads, and close it at the end, or use it as a
    context manager.

        with Lanes() as lanes:
            lanes.submit("tickets", {"text": "..."}, key="t-1", urgent=True)
            lanes.wait("tickets", "t-1", reader="support-desk", timeout_s=10)

    It works on the address of a database, on an SQLAlchemy engine (whose connections it borrows), or within the transaction of
    a connection (of an ORM session: `session.connection()`). In the last case, its writes are committed or rolled back with the
    caller's own rows, and never by the handle. With None, it works on the database of `LANES_DATABASE_URL`, or else of this
    checkout's stand.

        with engine.begin() as connection:
            connection.execute(insert(ticket).values(id="t-1"))
            Lanes(connection).submit("tickets", {"text": "..."}, key="t-1")

    On an address it opens up to `connections` connections; a call that needs one more waits for it for up to 30 s. A call waits
    for the locks of other transactions for up to `patience_s` seconds.

    The constructor and every method raise the errors of `lanes.errors`, with the driver's error as the cause:
        DatabaseAway: the database does not answer (connecting is tried for 5 s), or no connection was free.
        StillLocked: another transaction locks the item for longer than `patience_s`, or has changed rows that the call uses.
        Deadlocked: this and another transaction waited for each other; a call in its own transaction is repeated first.
        SetupError: no database is configured, the address is invalid, or the schema of Lanes is missing.
        TransactionUnfit: the given connection is closed, has failed before, or has no transaction.
        Refused: a name or a field is malformed, or the input is refused. A call about one item raises its refusal;
            `submit_many` returns an outcome for each input.
    """

    def __init__(
        self,
        where: str | URL | Engine | Connection | None = None,
        *,
        connections: int = 6,
        patience_s: float = 10,
    ) -> None:
        self._place = place(where, connections)
        self._verbs = Verbs(timedelta(seconds=patience_s), ours=self._place.ours)

    def submit(
        self,
        workload: str,
        payload: Mapping[str, Any],
        *,
        key: str | None = None,
        **fields: Unpack[Fields],
    ) -> Sent:
        """Admit one item; `outcome` is `accepted`, or `duplicate` if it was admitted before.

        With a key, the call may be repeated when its outcome is unknown.

        Raises:
            UnknownWorkload: no workload with that name has a published version.
            Refused: the input was refused for another reason; it is stored in `rejected_log`.
        """
        [sent] = self.submit_many(workload, [{"payload": payload, "key": key, **fields}])
        return sent.raise_for_refusal()

    def submit_many(
        self,
        workload: str,
        inputs: Iterable[Mapping[str, Any]],
        *,
        job: str | None = None,
        due_at: datetime | str | None = None,
        budget_usd: float | None = None,
    ) -> list[Sent]:
        """Admit many inputs, 500 per transaction, or fewer if they are large, and return an outcome for each, in order.

        An input has a `payload`, and the other fields of an event: `key`, and `Fields`. A refused input does not affect the
        others and raises nothing: its outcome is the reason (`Sent.refused`, `Sent.raise_for_refusal`), and it is stored in
        `rejected_log`.

        With a `job`, the inputs are followed as one (`Lanes.job`). An input without a key is identified by its index in the
        job, so the whole call may be repeated. Inputs without a due time are due at `due_at`. If the inputs are quoted at more
        than `budget_usd`, none is sent.

        Raises:
            Refused: `job_conflict`: another job with that name has other inputs; `job_budget`: the job costs more. Nothing is
                sent.
            StillLocked: another transaction has submitted one of the keys and stays open; the chunks before that key are
                admitted.
        """
        if job is not None or due_at is not None or budget_usd is not None:
            inputs = list(inputs)
            order = verbs.job_order(job, inputs, due_at, budget_usd)
            self._run(self._verbs.begin_job, order, workload, inputs)
        sent: list[Sent] = []
        placed = verbs.assign_places(inputs, job)
        for chunk in chunks(placed, most=CHUNK, most_bytes=MOST_BYTES, weight=weight):
            sent += self._run(self._admit, workload, chunk)
        if job is not None:
            self._run(self._verbs.close_job, job, sent)
        return sent

    def _admit(
        self, connection: Connection, workload: str, chunk: Sequence[verbs.Placed]
    ) -> list[Sent]:
        now = clock(connection)
        submissions = [verbs.read(workload, each, now, place) for place, each in chunk]
        return self._verbs.admit(connection, submissions, now)

    def amend(
        self,
        workload: str,
        key: str,
        payload: Mapping[str, Any],
        *,
        occurred_at: datetime | None = None,
    ) -> Sent:
        """Replace the item's payload.

        `outcome` is `amended`, `duplicate`, `waiting` (the item does not exist yet) or `outdated` (a later amendment is in
        force; this one is stored).

        Raises:
            UnknownWorkload: no workload with that name has a published version.
            Refused: the amendment was refused for another reason; it is stored in `rejected_log`.
        """
        return self._run(self._verbs.amend, workload, key, payload, occurred_at).raise_for_refusal()

    def cancel(self, workload: str, key: str) -> bool:
        """Withdraw the item; return False if it is already settled, in which case its answer stays.

        Raises:
            UnknownWorkload, UnknownItem: there is no such workload or item.
        """
        return self._run(self._verbs.cancel, workload, key)

    def label(
        self, workload: str, key: str, expected: Mapping[str, Any], *, source: str = "client"
    ) -> None:
        """Record the right answer for the item; only the newest label of each source counts.

        Raises:
            UnknownWorkload, UnknownItem: there is no such workload or item.
        """
        self._run(self._verbs.label, workload, key, expected, source)

    def read_result(self, workload: str, key: str, *, reader: str) -> Result | None:
        """Return the item's current result, or None if there is none yet; the read is recorded.

        Raises:
            AnswerEmptied: the answer was deleted after its retention period.
        """
        return self._run(self._verbs.read_result, verbs.build_result_request(workload, key, reader))

    def wait(
        self, workload: str, key: str, *, reader: str, timeout_s: float = 30, settled: bool = False
    ) -> Result | None:
        """Return the item's result as soon as there is one (`settled`: an authoritative one); the read is recorded.

        Return None if `timeout_s` seconds pass first. All callers that wait in a process share two connections, which do not
        belong to this handle.

        Raises:
            UnknownWorkload, UnknownItem: there is no such item. An item sent as an event does not exist until it is admitted.
            ItemFailed, ItemCanceled, AnswerEmptied: the item will get no such result; raised at once, even if time is left.
            DatabaseAway: the database did not answer at the beginning, or for 10 s at the end.
            TransactionUnfit: the handle works within a transaction.
        """
        request = verbs.build_result_request(workload, key, reader, settled=settled)
        return lookout.wait(self._place.address(), request, timeout_s=timeout_s)

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
        """Yield the workload's items with their current answers, in the order in which they were received.

        `states` selects only items in one of these states, and `since` only items whose current state began at or after that
        time. The items are fetched in pages; no transaction stays open between two pages. With a `reader`, each page records
        that this reader has read its answers. The read of an item that another transaction has locked is not recorded; with
        `follow`, it is recorded later.

        With `follow`, the generator continues: it yields an item whenever its answer arrives, is corrected or settled, or when
        the item fails, however late that change is committed. An item may occur more than once; its last occurrence counts. The
        generator ends after `quiet_s` seconds without a new item, or when its caller closes it. To resume, pass as `since`
        the time at which the last program ended, less the duration of the longest transaction.

            for item in lanes.results("tickets", follow=True, reader="dashboard"):
                print(item.key, item.state, item.output)

        Raises:
            UnknownWorkload: there is no such workload.
            DatabaseAway: the database does not answer; while following, for longer than a minute.
            TransactionUnfit: the handle works within a transaction, in which following is impossible.
        """
        query = verbs.build_listing_query(workload, states, since, follow=follow, reader=reader)
        if follow:
            yield from following.follow(self._place, self._begin(query, reader), quiet_s)
            return
        with self._place.transaction() as connection:
            workloads.check_known(connection, query.workload)
        onwards: ListingPlace | None = BEGIN
        while onwards is not None:
            with self._place.transaction() as connection:
                page = verbs.page(connection, query, onwards, reader)
            yield from page.items
            onwards = page.onwards

    def corrections(
        self, reader: str, *, follow: bool = False, quiet_s: float | None = None
    ) -> Generator[CorrectedRead]:
        """Yield the corrections that a reader must act on: answers of any workload that it read and that were corrected since.

        Each correction has both outputs. Later calls return it again until the reader reads the item again (`read_result`), so
        read the item once you have undone the effects of the first answer. With `follow`, the generator continues with each new
        correction, for as long as `results` does.

            for each in lanes.corrections("crm", follow=True):
                undo(each.key, each.taken, each.output)
                lanes.read_result(each.workload, each.key, reader="crm")

        Raises:
            DatabaseAway: the database does not answer; while following, for longer than a minute.
            TransactionUnfit: the handle works within a transaction, in which following is impossible.
        """
        if follow:
            yield from following.follow(self._place, CorrectionWatch(reader), quiet_s)
        else:
            yield from self._run(results.to_correct, reader)

    def job(self, name: str) -> Job:
        """Return the job with that name, to read its status or to wait for its end."""
        return Job(name, lambda name: self._run(verbs.job_status, name))

    def _run(self, verb: Callable[[Connection, *Args], T], *args: *Args) -> T:
        return self._place.run(lambda connection: verb(connection, *args))

    def _begin(self, query: ListingQuery, reader: str | None) -> Following:
        self._place.address()  # raises within a caller's transaction, where following is impossible
        with self._place.transaction() as connection:
            workloads.check_known(connection, query.workload)
            return Following(connection, query, reader)

    def close(self) -> None:
        """Close the handle's own connections; an engine or a connection of the caller stays open."""
        self._place.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
