"""The verbs of the client: each runs in an open transaction, which the caller commits."""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Concatenate, ParamSpec, TypedDict, TypeVar
from uuid import uuid4

from sqlalchemy import Connection

from lanes import errors
from lanes.doors.item import (
    Admission,
    JobOrder,
    Refusal,
    Submission,
    read_amendment,
    read_budget,
    read_submission,
)
from lanes.json_data import why_unfit_label, why_unstorable
from lanes.settling.listing import (
    TOLD,
    JobStatus,
    ListingPage,
    ListingPlace,
    ListingQuery,
    NoResult,
    ResultRequest,
    explain_archived,
    explain_emptied,
)
from lanes.store.database import clock, run_alone, run_patiently
from lanes.store.doors import items
from lanes.store.settling import jobs as job_store
from lanes.store.settling import listing, results
from lanes.store.settling.results import Result
from lanes.store.workload import workloads
from lanes.words import ItemState

DOOR = "client"
CHUNK = 500  # items admitted in one transaction
LABEL_NEEDS = "a label is a JSON object, and its source a text of 1 to 512 characters"

P = ParamSpec("P")
T = TypeVar("T")


class Fields(TypedDict, total=False):
    """The fields of an item other than its payload and key, as in an event. A time is aware, or an ISO 8601 text."""

    due_at: datetime | str | None
    due_in_s: float | None
    occurred_at: datetime | str | None
    urgent: bool
    consumer: str | None
    entity: str | None
    lane: str | None
    ack: bool
    job: str | None
    traceparent: str | None


@dataclass(frozen=True)
class Sent:
    """The outcome of one input: `accepted`, `duplicate` (same key, same content), or the reason for a refusal.

    The outcome of an amendment is `amended`, `duplicate`, `waiting` (the item does not exist yet) or `outdated`. Only
    `submit_many` returns refused inputs; `submit` and `amend` raise instead.
    """

    key: str
    outcome: str
    detail: str | None = None

    @property
    def refused(self) -> bool:
        """Whether the input was refused; `detail` and `rejected_log` say why."""
        return self.outcome not in ("accepted", "duplicate", "amended", "waiting", "outdated")

    def raise_for_refusal(self) -> "Sent":
        """Return this outcome unless the input was refused.

        Raises:
            UnknownWorkload: no workload with that name has a published version.
            Refused: the input was refused for another reason; `reason` is the outcome.
        """
        if self.outcome == "unknown_workload":
            raise errors.UnknownWorkload(self.detail or "there is no such workload")
        if self.refused:
            raise errors.Refused(self.outcome, self.detail or self.outcome)
        return self


class Verbs:
    """The verbs, with the time that they wait for the locks of other transactions.

    With `ours`, each verb has a transaction of its own. Otherwise it runs in the caller's transaction, and a failed verb leaves
    no changes there.
    """

    def __init__(self, patience: timedelta, *, ours: bool) -> None:
        self._patience, self._ours = patience, ours

    def admit(
        self, connection: Connection, inputs: Sequence[Submission | Refusal], now: datetime
    ) -> list[Sent]:
        """Admit the submissions, store the refusals in `rejected_log`, and return an outcome for each, in order."""
        refusals = [each for each in inputs if isinstance(each, Refusal)]
        if refusals:
            items.refuse(connection, refusals, door=DOOR, now=now)
        admissions: list[Admission] = []
        if submissions := [each for each in inputs if isinstance(each, Submission)]:
            admissions = self._patiently(connection, items.admit, submissions, door=DOOR, now=now)
        outcomes = map(_report_admission, submissions, admissions)
        return [
            _report_refusal(each) if isinstance(each, Refusal) else next(outcomes)
            for each in inputs
        ]

    def begin_job(
        self,
        connection: Connection,
        order: JobOrder,
        workload: str,
        inputs: Sequence[Mapping[str, Any]],
    ) -> str:
        """Begin the job of these inputs, unless they exceed its budget; see `lanes.store.doors.items.begin`."""
        now = clock(connection)
        asked = (
            read(workload, each, now, place) for place, each in assign_places(inputs, order.name)
        )
        sent = (each for each in asked if isinstance(each, Submission))
        job_store.check_budget(connection, order, workload, sent, now=now)
        return self._patiently(connection, items.begin, order, workload, now)

    def close_job(self, connection: Connection, name: str, sent: Sequence[Sent]) -> None:
        """Record that all items of the job were sent."""
        outcomes = Counter(each.outcome for each in sent)
        self._patiently(connection, items.close, name, outcomes, clock(connection))

    def amend(
        self,
        connection: Connection,
        workload: str,
        key: str,
        payload: Mapping[str, Any],
        occurred_at: datetime | None,
    ) -> Sent:
        """See `Lanes.amend`."""
        fields = {"key": key, "payload": plain(payload), "occurred_at": occurred_at}
        now = clock(connection)
        try:
            amendment = read_amendment(workload, fields, place=None)
        except errors.Refused as refused:
            refusal = _refusal(workload, fields, refused)
            items.refuse(connection, [refusal], door=DOOR, now=now)
            return _report_refusal(refusal)
        admission = self._patiently(connection, items.amend, amendment, door=DOOR, now=now)
        return Sent(amendment.key, admission.outcome, admission.detail)

    def cancel(self, connection: Connection, workload: str, key: str) -> bool:
        """See `Lanes.cancel`."""
        workload, key = check_text(workload, "the workload's name"), check_text(key, "key")
        outcome = self._patiently(connection, items.cancel, workload, key)
        if outcome == "unknown_item":
            raise explain_missing(connection, workload, key)
        return outcome == "canceled"

    def label(
        self,
        connection: Connection,
        workload: str,
        key: str,
        expected: Mapping[str, Any],
        source: str,
    ) -> None:
        """See `Lanes.label`."""
        workload, key = check_text(workload, "the workload's name"), check_text(key, "key")
        right, source = plain(expected), check_text(source, "source")
        if not isinstance(right, dict):
            raise _build_malformed_error(
                f"a label is a JSON object (a dict), not {type(right).__name__}"
            )
        if (problem := why_unfit_label(right)) is not None:
            raise _build_malformed_error(problem)
        match self._patiently(connection, items.label, workload, {key: right}, source=source)[key]:
            case "unknown_item":
                raise explain_missing(connection, workload, key)
            case "archived":
                raise errors.Refused("archived", explain_archived(workload, key))
            case "malformed":
                raise _build_malformed_error(LABEL_NEEDS)

    def read_result(self, connection: Connection, request: ResultRequest) -> Result | None:
        """See `Lanes.read_result`."""
        name, key, reader = request.workload, request.key, request.reader
        return self._patiently(connection, results.read, name, key, reader=reader)

    def _patiently(
        self,
        connection: Connection,
        query: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        waits = run_alone if self._ours else run_patiently
        return waits(connection, self._patience, query, *args, **kwargs)


# A placeholder: no time of a job is relative to when it is sent.
NO_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
# An input, preceded by its place within a job if it has one.
Placed = tuple[str | None, Mapping[str, Any]]


def job_order(
    job: str | None,
    inputs: Sequence[Mapping[str, Any]],
    due_at: datetime | str | None,
    budget_usd: float | None,
) -> JobOrder:
    """Return the job that these inputs form.

    Raises:
        Refused: its name, its due time or the inputs are malformed.
    """
    if job is None:
        raise _build_malformed_error(
            '"due_at" and "budget_usd" of all inputs are their job\'s: name the job'
        )
    fields = {"payload": {}, "job": job, "due_at": due_at}
    submission = read_submission("", fields, place=job, sent_at=NO_MOMENT)
    try:
        serialized = json.dumps(list(map(_remove_trace, inputs)), default=str, skipkeys=True)
    except (ValueError, RecursionError) as error:
        raise _build_malformed_error(f'the inputs of job "{job}" are no JSON: {error}') from None
    digest = hashlib.sha256(serialized.encode()).digest()
    return JobOrder(job, digest, submission.due_at, read_budget(budget_usd))


def assign_places(inputs: Iterable[Mapping[str, Any]], job: str | None) -> Iterator[Placed]:
    """Yield each input with its job and its place in it, which identifies an item without a key; without a job, unchanged.

    An input without a trace joins the current span of this program, if OpenTelemetry is in use.
    """
    traceparent = current_traceparent()
    for number, fields in enumerate(inputs, 1):
        if traceparent is not None and isinstance(fields, Mapping):
            fields = {"traceparent": traceparent, **fields}
        if job is None or not isinstance(fields, Mapping):
            yield None, fields
        else:
            yield f"{job}:{number}", {"job": job, **fields}


def _remove_trace(fields: object) -> object:
    """Return an input without its trace, so that the same inputs, sent again, are the same job."""
    if not isinstance(fields, Mapping):
        return fields
    return {name: value for name, value in fields.items() if name != "traceparent"}


def current_traceparent() -> str | None:
    """Return the traceparent of the current span, or None, also if the program has not imported OpenTelemetry."""
    trace = sys.modules.get("opentelemetry.trace")
    span_context = None if trace is None else trace.get_current_span().get_span_context()
    if span_context is None or not span_context.is_valid:
        return None
    return f"00-{span_context.trace_id:032x}-{span_context.span_id:016x}-{int(span_context.trace_flags):02x}"


def read(
    workload: str, fields: object, now: datetime, place: str | None = None
) -> Submission | Refusal:
    """Return the input as a submission, or its refusal if it is malformed."""
    try:
        if not isinstance(fields, Mapping):
            is_ = type(fields).__name__
            raise _build_malformed_error(
                f'an input is a JSON object (a dict) with a "payload", not {is_}'
            )
        item_fields = {**fields, "payload": plain(fields.get("payload"))}
        place = place or str(item_fields.get("key") or uuid4())
        return read_submission(workload, item_fields, place=place, sent_at=now.astimezone(UTC))
    except errors.Refused as refused:
        return _refusal(workload, fields, refused)


def plain(payload: object) -> Any:
    """Return a mapping as a dict, for JSON; return other values unchanged, so that the door can refuse them."""
    return dict(payload) if isinstance(payload, Mapping) else payload


def _refusal(workload: object, fields: object, refused: errors.Refused) -> Refusal:
    """Return the refusal of a malformed input; its place is unique, so that each is stored, even under the same key."""
    key = fields.get("key") if isinstance(fields, Mapping) else None
    named = None if key is None else str(key)
    try:
        content = json.dumps(fields, default=str, skipkeys=True)
    except (ValueError, RecursionError):  # the input contains itself, or is nested too deeply
        content = ""
    return Refusal(str(workload), str(uuid4()), refused.reason, str(refused), content, named)


def page(
    connection: Connection, query: ListingQuery, onwards: ListingPlace, reader: str | None
) -> ListingPage:
    """Return the next page of items; if there is a reader, the read of each item is recorded."""
    listing_page = listing.page(connection, query, onwards=onwards)
    results.record_reads(connection, query.workload, listing_page.items, reader)
    return listing_page


def build_listing_query(
    workload: str,
    states: Collection[str],
    since: datetime | None,
    *,
    follow: bool,
    reader: str | None,
) -> ListingQuery:
    """Return the query for the items that `Lanes.results` lists.

    Raises:
        Refused: a state does not exist, followers are informed of none of the states, or the reader cannot be stored as text.
    """
    if reader is not None:
        check_text(reader, "reader")
    name = check_text(workload, "the workload's name")
    try:
        query = ListingQuery(name, [ItemState(each) for each in states], since)
    except ValueError as error:
        raise _build_malformed_error(
            f"{error}; an item's state is one of {', '.join(ItemState)}"
        ) from None
    if follow and not query.narrow_for_follower().states:
        message = f"followers hear only of items that are {', '.join(TOLD)}: name one of these states, or none"
        raise _build_malformed_error(message)
    return query


def build_result_request(
    workload: str, key: str, reader: str, *, settled: bool = False
) -> ResultRequest:
    """Return the request for the result of an item, with names that the database can store.

    Raises:
        Refused: the workload, key or reader cannot be stored as text.
    """
    name, key = check_text(workload, "the workload's name"), check_text(key, "key")
    return ResultRequest(name, key, check_text(reader, "reader"), settled)


def job_status(connection: Connection, name: str) -> JobStatus:
    """Return the status of the job; see `lanes.client.following.Job.status`."""
    name = check_text(name, "the job's name")
    return job_store.status(connection, name, now=clock(connection))


def check_text(value: object, where: str) -> str:
    """Return the value as a text that the database can store.

    Raises:
        Refused: the text cannot be stored.
    """
    if (problem := why_unstorable(text := str(value), where)) is not None:
        raise _build_malformed_error(problem)
    return text


def explain_no_result(request: ResultRequest, why: NoResult) -> errors.LanesError | None:
    """Return the error that explains why no result will come, or None if one still may."""
    item = f'item "{request.key}" of workload "{request.workload}"'
    match why:
        case NoResult.NOT_YET:
            return None
        case NoResult.CANCELED:
            return errors.ItemCanceled(f"{item} was canceled: it gets no further answer")
        case NoResult.EMPTIED:
            return errors.AnswerEmptied(explain_emptied(request.workload, request.key))
        case NoResult.FAILED:
            story = f"`lanes explain {request.workload} {request.key}`"
            return errors.ItemFailed(f"{item} failed; {story} says why")
        case NoResult.NO_ITEM:
            return _unknown_item(request.workload, request.key)
        case NoResult.NO_WORKLOAD:
            return errors.UnknownWorkload(
                f'there is no workload "{request.workload}"; correct the name, or publish it'
            )


def explain_missing(connection: Connection, workload: str, key: str) -> errors.LanesError:
    """Return the error that tells whether the workload or the item is missing."""
    try:
        workloads.check_known(connection, workload)
    except errors.UnknownWorkload as unknown:
        return unknown
    return _unknown_item(workload, key)


def _unknown_item(workload: str, key: str) -> errors.UnknownItem:
    message = f'workload "{workload}" has no item "{key}"; submit it first, or correct the name'
    return errors.UnknownItem(message)


def _build_malformed_error(detail: str) -> errors.Refused:
    return errors.Refused("malformed", detail)


def _report_refusal(refusal: Refusal) -> Sent:
    return Sent(refusal.key or refusal.place, refusal.reason, refusal.detail)


def _report_admission(asked: Submission, admission: Admission) -> Sent:
    return Sent(admission.key or asked.key or asked.place, admission.outcome, admission.detail)
