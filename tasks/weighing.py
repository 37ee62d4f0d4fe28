"""The consequences of ended calls: attempts, claims to give back, incidents, and what the drain learns from them."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from prefect.logging import get_run_logger

from lanes.ids import WorkId
from lanes.money.cost import most_answer_tokens
from lanes.packing import Claim, ClaimedWork
from lanes.promises.assessment import Assessment
from lanes.promises.breaches import frozen, unknown_model
from lanes.promises.briefing import FailureReport, kind_of
from lanes.provider.client import REFUSED, CallResult
from lanes.provider.errors import FREEZES, OF_MODEL, Action, CallFailed
from lanes.realtime.buffer import ServiceTimes
from lanes.realtime.calltime import longest_call_s
from lanes.realtime.circuit import Fault
from lanes.realtime.health import ACCOUNT, Health, Standstills
from lanes.realtime.pace import Pace
from lanes.settling import attempts
from lanes.settling.attempts import CallTimes
from lanes.settling.outcome import Attempt
from lanes.text import remove_quotes
from lanes.words import Outcome
from lanes.workload.version import Version


@dataclass
class Consequences:
    """The consequences of ended calls: attempts to save, claims to give back, incidents to open."""

    attempts: list[Attempt] = field(default_factory=list)
    untried: dict[datetime, list[Claim]] = field(
        default_factory=dict
    )  # by when they may be asked again
    breaches: dict[str, Assessment] = field(default_factory=dict)
    faults: dict[str, Fault] = field(
        default_factory=dict
    )  # of models that do not answer: the fault that says most
    answered: dict[str, datetime] = field(
        default_factory=dict
    )  # models that answer again, and when the call began that tells
    told_nothing: dict[str, int] = field(
        default_factory=dict
    )  # the turns of probes that were neither answered nor faulted
    failures: list[FailureReport] = field(default_factory=list)

    def add(self, more: "Consequences") -> None:
        """Add the consequences of another call, which ended later."""
        self.attempts += more.attempts
        for at, claims in more.untried.items():
            self.untried.setdefault(at, []).extend(claims)
        self.breaches |= more.breaches
        for model, fault in more.faults.items():
            self.met(model, fault)
        self.answered |= more.answered
        self.told_nothing |= more.told_nothing
        self.failures += more.failures

    def met(self, model: str, fault: Fault) -> None:
        """Note that a call of the model was not answered: a probe of it counts most, else the newest."""
        known = self.faults.get(model)
        if known is None or (known.turn is not None, known.began_at) <= (
            fault.turn is not None,
            fault.began_at,
        ):
            self.faults[model] = fault

    def give_back(self, claims: Sequence[ClaimedWork], at: datetime) -> None:
        """Give back work that was not asked, or was refused for no fault of its own."""
        self.untried.setdefault(at, []).extend(each.claim for each in claims)


class Weighing:
    """Evaluates the calls of one drain: its pace, its models' health, its standstills and `times` learn from each."""

    def __init__(
        self,
        pace: Pace,
        health: Health,
        standstills: Standstills,
        *,
        times: ServiceTimes,
        account: str,
        flow_run_id: UUID | None,
    ) -> None:
        self._pace, self._health, self._standstills, self._times = pace, health, standstills, times
        self._account, self._flow_run_id = account, flow_run_id

    def of(self, ended: Sequence[tuple[Version, CallResult]], now: datetime) -> Consequences:
        """Return the consequences of calls that ended, each by a version; one that cannot be evaluated harms no other."""
        then = Consequences()
        for version, called in ended:
            times = CallTimes.before(
                now, age_s=time.monotonic() - called.ended, seconds=called.seconds
            )
            one = Consequences()
            try:
                self._weigh(one, version, called, times, now)
            except Exception as error:
                get_run_logger().error(
                    "a call of %s cannot be weighed", version.workload, exc_info=error
                )
                one = Consequences(
                    one.attempts
                    or attempts.unweighed(version, called.pack, called.response, times, why=error)
                )
                one.give_back(called.untried, now)
            then.add(one)
        return then

    def _weigh(
        self,
        then: Consequences,
        version: Version,
        called: CallResult,
        times: CallTimes,
        now: datetime,
    ) -> None:
        if called.response is not None:
            then.attempts += attempts.answered(
                version, called.pack, called.response, times, ids=called.ids
            )
            then.failures += unusable(version, then.attempts)
            quick = (
                called.seconds
                < longest_call_s(most_answer_tokens(version.spec, len(called.pack))) / 2
            )
            self._health.answered(
                version.spec.realtime_model, most=self._pace.most, quick=quick, now=now
            )
            if self._health.circuits.answered(version.spec.realtime_model, times.started_at):
                then.answered[version.spec.realtime_model] = times.started_at
            self._standstills.answered(version.spec.realtime_model, now)
            self._pace.succeeded(version.spec.realtime_model, called.seconds)
            self._times.answered(version.id, len(called.pack), called.seconds)
        elif called.failure is not None:
            then.failures.append(failed(version, called, called.failure))
            self._failure(then, version, called, called.failure, times, now)

    def _failure(
        self,
        then: Consequences,
        version: Version,
        called: CallResult,
        failure: CallFailed,
        times: CallTimes,
        now: datetime,
    ) -> None:
        workload, model, work = version.workload, version.spec.realtime_model, work_of(called.pack)
        if (turn := self._health.circuits.turn_of(model, work)) is not None:
            self._health.circuits.let_go(model)
            if failure.action in (*REFUSED, *FREEZES, Action.SLOW_DOWN):
                then.told_nothing[model] = turn
        if failure.action in REFUSED:
            perhaps_version = failure.action is Action.POISON
            then.attempts += attempts.poisoned(
                called.pack, str(failure), times, perhaps_version=perhaps_version
            )
        elif failure.action in FREEZES or failure.action is Action.SLOW_DOWN:
            if failure.action is Action.SLOW_DOWN:
                self._pace.slow_down(model, retry_after_s=failure.retry_after_s, now=now)
            elif failure.action in OF_MODEL:
                self._pace.freeze_model(model, now)
            else:
                self._pace.freeze(now)
            held_back = [*called.pack, *called.untried]
            then.give_back(held_back, self._pace.next_try(workload, model, now))
            if failure.action in OF_MODEL:
                then.breaches[workload] = unknown_model(
                    workload, model, len(held_back), str(failure), flow_run_id=self._flow_run_id
                )
                self._standstills.met(model, str(failure), now=now)
            elif failure.action in FREEZES:
                then.breaches[ACCOUNT] = frozen(
                    self._account, len(held_back), str(failure), flow_run_id=self._flow_run_id
                )
                self._standstills.met(ACCOUNT, str(failure), now=now)
        else:
            last = any(each.failures + 1 >= version.spec.max_failures for each in called.pack)
            blame = self._health.faulted(
                model,
                work,
                innocent=failure.innocent,
                last_chance=last,
                cut=failure.cut,
                began_at=times.started_at,
                now=now,
            )
            then.attempts += attempts.unanswered(
                version,
                called.pack,
                str(failure),
                times,
                blame=blame,
                maybe_billed=failure.maybe_billed,
            )
            then.give_back(called.untried, now)
            if (
                fault := self._health.fault(
                    model, remove_quotes(str(failure)), began_at=times.started_at, turn=turn
                )
            ) is not None:
                then.met(model, fault)
                self._standstills.met(model, fault.why, calls=fault.faults, now=now)


def work_of(pack: Sequence[ClaimedWork]) -> list[WorkId]:
    """Return the work of a pack."""
    return [each.claim.work_id for each in pack]


Kind = tuple[str, str, bool]


class FailureLog:
    """The failures of one drain: however many calls fail, the log grows by a line per minute and kind."""

    def __init__(self) -> None:
        self._said: set[Kind] = set()
        self._again: dict[Kind, FailureReport] = {}

    def met(self, failures: Iterable[FailureReport]) -> None:
        """Write the failures into the log, at once or with the next summary."""
        new: dict[Kind, FailureReport] = {}
        for each in failures:
            kind = each.workload, kind_of(each.error), bool(each.calls)
            among = self._again if kind in self._said else new
            among[kind] = among[kind].more(each) if kind in among else each
        for each in new.values():
            get_run_logger().warning("%s", each.sentence)
        self._said |= set(new)

    def sum_up(self) -> None:
        """Log what went on since the last summary; a failure that did not is new when it happens again."""
        for each in self._again.values():
            get_run_logger().warning("again since then: %s", each.sentence)
        self._said = set(self._again)
        self._again = {}


def failed(version: Version, called: CallResult, failure: CallFailed) -> FailureReport:
    """Report a call that was not answered, without quoting its items."""
    items = [*called.pack, *called.untried]
    said = remove_quotes(str(failure), [each.payload for each in items])
    return FailureReport(version.workload, said, len(items), calls=1)


def unusable(version: Version, answered: Sequence[Attempt]) -> list[FailureReport]:
    """Report answers that were paid for and cannot be used."""
    bad = [each.judged for each in answered if each.judged.outcome is not Outcome.VALID]
    return [
        FailureReport(version.workload, remove_quotes(each.error or each.outcome), 1, calls=0)
        for each in bad
    ]
