"""What ended calls lead to: attempts, work that goes back untried, what a drain tells, and what it heeds from now on."""

import time
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from prefect.logging import get_run_logger

from lanes.ids import WorkId
from lanes.money.cost import most_answer_tokens
from lanes.packing import ClaimedWork
from lanes.promises.provider_faults import frozen, unknown_model
from lanes.provider.answering import REFUSED, Called
from lanes.provider.errors import FREEZES, OF_MODEL, Action, CallFailed
from lanes.realtime.calltime import longest_call_s
from lanes.realtime.health import Health
from lanes.realtime.pace import Pace
from lanes.realtime.service import ServiceTimes
from lanes.realtime.standstill import ACCOUNT, Standstills
from lanes.settling import attempts
from lanes.settling.attempts import Times
from lanes.text import remove_quotes
from lanes.workload.version import Version
from tasks.consequences import Consequences
from tasks.failure_log import failed, unusable


class Weighing:
    """Weighs the calls of one drain: its pace, the health of its models and its standstills learn from each; `times` learns how
    long they take."""

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

    def of(self, ended: Sequence[tuple[Version, Called]], now: datetime) -> Consequences:
        """Return the consequences of calls that ended, each by a version. One that cannot be weighed harms no other."""
        then = Consequences()
        for version, called in ended:
            times = Times.before(now, age_s=time.monotonic() - called.ended, seconds=called.seconds)
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
        self, then: Consequences, version: Version, called: Called, times: Times, now: datetime
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
        called: Called,
        failure: CallFailed,
        times: Times,
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
    """The work of a pack."""
    return [each.claim.work_id for each in pack]
