"""The consequences of an ended call for its items: attempts to save, and lines for the run's log."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from prefect.logging import get_run_logger

from lanes.money.cost import most_answer_tokens
from lanes.promises.briefing import FailureReport, kind_of
from lanes.provider.client import REFUSED, CallResult
from lanes.provider.errors import FREEZES, OF_MODEL, Action, CallFailed
from lanes.realtime.events import CallEnded, CallEnding, Save
from lanes.realtime.limiter import Pack
from lanes.realtime.pace import longest_call_s
from lanes.settling import attempts
from lanes.settling.attempts import CallTimes
from lanes.settling.outcome import Attempt
from lanes.text import remove_quotes
from lanes.words import Outcome
from lanes.workload.version import Version


@dataclass(frozen=True, kw_only=True)
class ProviderCall(CallEnded):
    """A call that ended, with the provider's response and the times of the call."""

    called: CallResult
    times: CallTimes


def call_ended(pack: Pack, called: CallResult, now: datetime) -> ProviderCall:
    """Return the event that reports a call that has just ended to the drain's state."""
    spec, failure = pack.version.spec, called.failure
    times = CallTimes.ended_before(
        now, age_s=time.monotonic() - called.ended, seconds=called.seconds
    )
    most_s = longest_call_s(most_answer_tokens(spec, len(called.pack)))
    ending = CallEnding.ANSWERED if failure is None else _classify(failure)
    why = "" if failure is None else str(failure)
    return ProviderCall(
        pack,
        called.pack,
        ending,
        times.started_at,
        called.seconds,
        called.untried,
        is_quick=called.seconds < most_s / 2,
        why=remove_quotes(why) if ending is CallEnding.FAULTED else why,
        retry_after_s=failure.retry_after_s if failure else None,
        innocent=failure is not None and failure.innocent,
        cut=failure is not None and failure.cut,
        called=called,
        times=times,
    )


def _classify(failure: CallFailed) -> CallEnding:
    if failure.action in REFUSED:
        return CallEnding.REFUSED
    if failure.action is Action.SLOW_DOWN:
        return CallEnding.LIMITED
    if failure.action in FREEZES:
        return CallEnding.FROZEN_MODEL if failure.action in OF_MODEL else CallEnding.FROZEN_ACCOUNT
    return CallEnding.FAULTED


def list_attempts(save: Save) -> tuple[list[Attempt], list[FailureReport]]:
    """Return the attempts of a call's items, and its failures; a call that cannot be evaluated gets attempts nevertheless."""
    call = save.call
    assert isinstance(call, ProviderCall)
    version, called, new_attempts = call.pack.version, call.called, list[Attempt]()
    try:
        new_attempts = _attempts(save, call)
        if called.failure is None:
            return new_attempts, describe_unusable(version, new_attempts)
        return new_attempts, [describe_failure(version, called, called.failure)]
    except Exception as error:
        get_run_logger().error("a call of %s cannot be weighed", version.workload, exc_info=error)
        call_fields = version, called.pack, called.response, call.times
        return new_attempts or attempts.build_unweighed(*call_fields, why=error), []


def _attempts(save: Save, call: ProviderCall) -> list[Attempt]:
    version, called, failure = call.pack.version, call.called, call.called.failure
    if called.response is not None:
        return attempts.build_answered(
            version, called.pack, called.response, call.times, ids=called.ids
        )
    assert failure is not None
    if call.ending is CallEnding.REFUSED:
        perhaps = failure.action is Action.POISON
        return attempts.build_poisoned(
            called.pack, str(failure), call.times, perhaps_version=perhaps
        )
    if save.blame is None:
        raise RuntimeError("whose fault it was could not be judged")
    why, billed = str(failure), failure.maybe_billed
    return attempts.build_unanswered(
        version, called.pack, why, call.times, blame=save.blame, maybe_billed=billed
    )


def describe_failure(version: Version, called: CallResult, failure: CallFailed) -> FailureReport:
    """Describe a call that was not answered, without quoting any of its items."""
    items = [*called.pack, *called.untried]
    message = remove_quotes(str(failure), [each.payload for each in items])
    return FailureReport(version.workload, message, len(items), calls=1)


def describe_unusable(version: Version, answered: Sequence[Attempt]) -> list[FailureReport]:
    """Describe the answers that were paid for but cannot be used."""
    judgments = [each.judged for each in answered if each.judged.outcome is not Outcome.VALID]
    return [
        FailureReport(version.workload, remove_quotes(each.error or each.outcome), 1, calls=0)
        for each in judgments
    ]


Kind = tuple[str, str, bool]


class FailureLog:
    """The log of a drain's failures: a new kind is logged at once, then once a minute, no matter how many calls fail."""

    def __init__(self) -> None:
        self._said: set[Kind] = set()
        self._again: dict[Kind, FailureReport] = {}

    def report(self, failures: Iterable[FailureReport]) -> None:
        """Log failures of new kinds at once, and collect the others for the next summary."""
        new: dict[Kind, FailureReport] = {}
        for failure in failures:
            kind = failure.workload, kind_of(failure.error), bool(failure.calls)
            reports = self._again if kind in self._said else new
            reports[kind] = reports[kind].merge(failure) if kind in reports else failure
        for failure in new.values():
            get_run_logger().warning("%s", failure.sentence)
        self._said |= set(new)

    def sum_up(self) -> None:
        """Log failures that have continued since the last summary. A kind that stopped counts as new when it returns."""
        for each in self._again.values():
            get_run_logger().warning("again since then: %s", each.sentence)
        self._said = set(self._again)
        self._again = {}
