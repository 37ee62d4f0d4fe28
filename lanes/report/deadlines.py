"""What became of due times: met, missed, or past without an answer."""

from dataclasses import dataclass

from lanes.words import Lane


@dataclass(frozen=True)
class DeadlineFigures:
    """The due items of a workload whose newest route chose this lane for this reason.

    `met` and `missed` were answered or failed in the period; `overdue` are neither yet, however old, and counted up to a
    bound. Reason `overdue`: due before it arrived, whatever its route says. What became due before it was
    routed is of reason `deadline`.
    """

    workload: str
    lane: Lane
    reason: str
    met: int
    missed: int
    overdue: int

    @property
    def met_share(self) -> float | None:
        """In time of all that were due, 0 to 1; None where none was."""
        due = self.met + self.missed + self.overdue
        return self.met / due if due else None
