"""What of a workload could leave for the batch lane now, and what to say of it."""

from dataclasses import dataclass
from datetime import datetime

from lanes.units import clock, counted


@dataclass(frozen=True)
class Outstanding:
    """The items of a workload that are not answered for good, counted by what they wait for.

    `ready` ones leave with the next batch; `resting` ones not before `rested_at`. `in_the_way` are the batches whose
    create has no answer yet: none follows on their account before it has. `held` ones keep their items until a person
    decides.
    """

    workload: str
    paused_at: datetime | None
    ready: int
    resting: int
    rested_at: datetime | None
    unrouted: int
    realtime: int
    at_provider: int
    held: int
    held_batches: tuple[int, ...]
    in_the_way: tuple[int, ...]

    @property
    def may_leave(self) -> bool:
        """Whether a run of `depart` would find something."""
        return self.ready > 0 and self.paused_at is None


def announcement(of: Outstanding, now: datetime) -> str:
    """Why nothing leaves, or how many items do, each with what stays behind and who moves it on."""
    name = of.workload
    if of.paused_at is not None:
        waits = f"{counted(of.ready, 'item')} ready" if of.ready else "nothing ready"
        return (
            f"{name} is paused since {clock(of.paused_at, beside=now)}, with {waits}: nothing of it leaves before "
            f"`lanes resume {name}`"
        )
    said = (
        f"{counted(of.ready, 'item')} of {name} will leave now"
        if of.ready
        else f"nothing of {name} is ready to leave"
    )
    rest = [*_left_behind(of, now)]
    if of.ready and of.in_the_way:
        rest.insert(
            0, f"they leave once the create of {_batches(of.in_the_way)} is answered or looked into"
        )
    return ": ".join([said, "; ".join(rest)]) if rest else said


def _left_behind(of: Outstanding, now: datetime) -> list[str]:
    rested = clock(of.rested_at, beside=now) if of.rested_at else ""
    reasons = [
        (of.unrouted, "received and not routed yet, which takes a few seconds while a drain runs"),
        (of.resting, f"resting after a failed try, the first until {rested}"),
        (of.realtime, "on the real-time lane"),
        (of.at_provider, "in batches already"),
        (of.held, f"in {_batches(of.held_batches)}, held until a person decides: `lanes batches`"),
    ]
    return [f"{number:,} {why}" for number, why in reasons if number]


def _batches(ids: tuple[int, ...]) -> str:
    return f"batch{'es' if len(ids) > 1 else ''} {', '.join(map(str, ids))}"
