"""What a workload may have of the real-time lane while others wait for it too."""

from collections.abc import Mapping
from dataclasses import dataclass

from lanes.workload.version import Version


@dataclass(frozen=True)
class Entitlement:
    """A workload that waits: its weight, and the largest percentage it may hold while others wait or are served."""

    weight: int
    max_share_percent: int

    @classmethod
    def of(cls, version: Version) -> "Entitlement":
        """That of a workload by its version."""
        return cls(version.spec.weight, version.spec.max_share_percent)


UNBOUNDED = Entitlement(1, 100)  # of a workload that nothing is known of


def held(waiting: Mapping[str, Entitlement]) -> dict[str, float]:
    """Which part of the places each of several holds while all of them wait, above 0: by its weight, and no more than its
    largest share; together 1, or less where these bounds leave places empty."""
    parts, left, open_to = dict[str, float](), 1.0, dict(waiting)
    while open_to:
        weights = sum(each.weight for each in open_to.values())
        bounded = {
            name: each.max_share_percent / 100
            for name, each in open_to.items()
            if left * each.weight / weights > each.max_share_percent / 100
        }
        if not bounded:
            return parts | {name: left * each.weight / weights for name, each in open_to.items()}
        parts |= bounded
        left -= sum(bounded.values())
        open_to = {name: each for name, each in open_to.items() if name not in bounded}
    return parts
