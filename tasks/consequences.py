"""What calls that ended mean for the database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lanes.packing import Claim, ClaimedWork
from lanes.promises.assessment import Assessment
from lanes.promises.failures import Failed
from lanes.realtime.circuit import Fault
from lanes.settling.outcome import Attempt


@dataclass
class Consequences:
    """What some calls that ended mean: attempts to save, claims to give back, incidents to open."""

    attempts: list[Attempt] = field(default_factory=list)
    untried: dict[datetime, list[Claim]] = field(
        default_factory=dict
    )  # by when they may be asked again
    breaches: dict[str, Assessment] = field(default_factory=dict)
    faults: dict[str, Fault] = field(
        default_factory=dict
    )  # of models that answer nobody: the one that says most
    answered: dict[str, datetime] = field(
        default_factory=dict
    )  # models that answer again, and when the call began that tells
    told_nothing: dict[str, int] = field(
        default_factory=dict
    )  # the turns of probes that were neither answered nor faulted
    failures: list[Failed] = field(default_factory=list)

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
        """A call of the model was answered by nobody: a probe of it says most, else the newest."""
        known = self.faults.get(model)
        if known is None or (known.turn is not None, known.began_at) <= (
            fault.turn is not None,
            fault.began_at,
        ):
            self.faults[model] = fault

    def give_back(self, claims: Sequence[ClaimedWork], at: datetime) -> None:
        """They were not asked, or refused for no fault of theirs."""
        self.untried.setdefault(at, []).extend(each.claim for each in claims)
