"""The reasons for which a call waits in a drain, in words for people."""

from dataclasses import dataclass
from enum import StrEnum


class WaitReason(StrEnum):
    """Why a pack waits; `said` names the cause and what ends the wait."""

    FROZEN = "frozen"
    SLOWED = "slowed"
    CIRCUIT = "circuit"
    RECOVERING = "recovering"
    BUDGET = "budget"
    SHADOW = "shadow"
    PLACES = "places"
    SHARE = "share"
    TURN = "turn"
    RATE_LIMIT = "rate_limit"

    @property
    def said(self) -> str:
        """The cause in words, and what ends it."""
        return SAID[self]


SAID = {
    WaitReason.FROZEN: "the provider refuses the account or the version; it ends with the first call that is accepted",
    WaitReason.SLOWED: "the provider limited its model; it ends at the time that the provider named",
    WaitReason.CIRCUIT: "its model is in an outage; it ends with the first call that is answered",
    WaitReason.RECOVERING: "its model failed lately and gets one more call for each answer; it ends by itself",
    WaitReason.BUDGET: "its hard budget is used up; it ends when the budget is raised or a new period begins",
    WaitReason.SHADOW: "it is a shadow or of a replay, and work that is owed an answer goes first; it ends by itself",
    WaitReason.PLACES: "every place for calls is taken; it ends when a call ends",
    WaitReason.SHARE: "the free places belong to other workloads; it ends when a call of its own workload ends",
    WaitReason.TURN: "its workload's consumers take turns by their weights while items of several wait; it ends by itself",
    WaitReason.RATE_LIMIT: "the provider's rate limit leaves too little for it; it ends by itself within a minute",
}


@dataclass(frozen=True)
class CallWait:
    """Calls of a workload that wait in a drain for the same reason."""

    workload: str
    reason: WaitReason
    calls: int
