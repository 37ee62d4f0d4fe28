"""What calls that ended mean for the database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lanes.claims import Claim, Claimed
from lanes.promises.assessment import Assessment
from lanes.promises.failures import Failed
from lanes.settling.outcome import Attempt


@dataclass
class Consequences:
    """What some calls that ended mean: attempts to save, claims to give back, incidents to open."""

    attempts: list[Attempt] = field(default_factory=list)
    untried: dict[datetime, list[Claim]] = field(default_factory=dict)  # by when they may be asked again
    breaches: dict[str, Assessment] = field(default_factory=dict)
    outages: dict[str, str] = field(default_factory=dict)  # models that answer nobody, and what the last call met
    failures: list[Failed] = field(default_factory=list)

    def give_back(self, claims: Sequence[Claimed], at: datetime) -> None:
        """They were not asked, or refused for no fault of theirs."""
        self.untried.setdefault(at, []).extend(each.claim for each in claims)
