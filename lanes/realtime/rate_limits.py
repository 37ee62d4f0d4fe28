"""Which calls begin now, so that the provider's limits hold them: what one drain knows of each model's limits. Pure.

    told (headers of an answer, or what another drain saw) -> the newest picture of a model
    begun                                                  -> what a call needs is charged against it, output by `max_tokens`
    ended                                                  -> what the answer used less than that is given back

A picture counts every call that began before the call which saw it; those that began later are charged here, until the next
one. So a picture never counts too little for long, however long calls are.
"""

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lanes.packing import ClaimedWork
from lanes.realtime.headers import Told
from lanes.routing.capacity import WINDOW, Limit, LimitKind, Need, fits_at, kept_back

SHORTEST_WAIT = timedelta(milliseconds=50)
ON_ITS_WAY = timedelta(
    seconds=1
)  # so much older may a call be that the picture of another drain does not count yet
DISBELIEF = timedelta(
    minutes=5
)  # a limit that was exceeded without a refusal is asked again after it
NOTHING = Need(0, 0, 0)
NEW, AMPLE = (
    timedelta(seconds=0.2),
    0.5,
)  # a picture's age, and the share of each limit that is left
MOST_NOTES = (
    50  # of one drain, so that a provider that reports ever new nonsense cannot flood the log
)


@dataclass(slots=True)
class _Call:
    """A call of ours that may be missing in the picture of its model."""

    key: Hashable
    number: int
    model: str
    need: Need
    at: datetime
    ended: bool = False


@dataclass(slots=True)
class _Picture:
    """The newest limits of a model.

    `counted` is the number of the last call that they count; those that began later are `uncounted`, in their order,
    and use so much.
    """

    limits: dict[LimitKind, Limit] = field(default_factory=dict)
    counted: int = 0
    seen_at: datetime | None = None
    uncounted: dict[int, _Call] = field(default_factory=dict)
    used: Need = NOTHING
    under_way: int = 0
    begun_at: datetime | None = None


class RateLimits:
    """The limits of one account, as one of its `drains` knows them. Without a picture nothing is held back."""

    def __init__(self, *, drains: int = 1) -> None:
        self.drains = drains
        self._pictures: dict[str, _Picture] = {}
        self._calls: dict[Hashable, _Call] = {}
        self._number = 0
        self._held: dict[
            str, tuple[Need, bool, datetime]
        ] = {}  # what was held back of a model first, and since when
        self._disbelieved: dict[tuple[str, LimitKind], datetime] = {}
        self._noted: set[str] = set()
        self._untold: list[str] = []

    # What is known

    def told(self, model: str, told: Told, *, key: Hashable, now: datetime) -> None:
        """The answer to the call named `key` said this. What an older call saw is passed over."""
        for note in told.notes:
            self._note(f"{model}: {note}")
        call, picture = self._calls.get(key), self._of(model)
        if told.limits and call is not None and call.number >= picture.counted:
            self._see(picture, told.limits, call.number, now)

    def is_ample(self, model: str, now: datetime) -> bool:
        """Whether so much is left by a picture so new that the next answer need not be read: nothing turns on it."""
        seen_at = self._of(model).seen_at
        if seen_at is None or not timedelta(0) <= now - seen_at < NEW:
            return False
        return all(
            limit.left(now) - used >= AMPLE * limit.limit for limit, used in self._known(model, now)
        )

    def shared(self, model: str, limits: Sequence[Limit]) -> None:
        """Another drain saw this. It counts where it is newer than what we saw ourselves."""
        seen_at, picture = max(each.seen_at for each in limits), self._of(model)
        if picture.seen_at is not None and seen_at <= picture.seen_at:
            return
        surely = [
            each.number for each in picture.uncounted.values() if each.at <= seen_at - ON_ITS_WAY
        ]
        self._see(picture, limits, max(surely, default=picture.counted), seen_at)

    def seen(self) -> dict[str, list[Limit]]:
        """The newest limits of each model."""
        return {
            model: [*picture.limits.values()]
            for model, picture in self._pictures.items()
            if picture.limits
        }

    @property
    def charged(self) -> int:
        """How many calls it knows: those under way, and those that no picture counts yet."""
        return len(self._calls)

    def take_notes(self) -> list[str]:
        """Take the notes on wrong limits of the provider that were not taken before; each fault is noted once."""
        notes, self._untold = self._untold, []
        return notes

    # What begins

    def begins(
        self, key: Hashable, model: str, need: Need, *, presses: bool, now: datetime
    ) -> bool:
        """Whether a call begins: then it is charged, and `ended` is owed. Of what waits, what presses also has the reserve."""
        if not self._takes(model, need, presses, now):
            self._held.setdefault(model, (need, presses, now))
            return False
        self.begun(key, model, need, now=now)
        return True

    def begun(self, key: Hashable, model: str, need: Need, *, now: datetime) -> None:
        """A call is under way, whether or not it fits; told twice of the same, it counts once."""
        if self.is_under_way(key):
            return
        self._number += 1
        call = self._calls[key] = _Call(key, self._number, model, need, now)
        picture = self._of(model)
        picture.under_way += 1
        picture.begun_at = now
        self._forget(picture, now)
        picture.uncounted[call.number] = call
        picture.used = picture.used.plus(need)

    def is_under_way(self, key: Hashable) -> bool:
        """Whether this call began, and has not ended."""
        return key in self._calls and not self._calls[key].ended

    def ended(self, key: Hashable, used: Need | None, *, now: datetime) -> None:
        """The call is over; `used` is what its answer counts, None where there was none: it stays charged for a window."""
        call = self._calls.get(key)
        if call is None or call.ended:
            return
        call.ended, picture = True, self._of(call.model)
        picture.under_way -= 1
        if used is not None:
            self._settle(picture, call, used, now)
        if call.number not in picture.uncounted:
            del self._calls[key]

    # What may begin

    def room(self, model: str, need: Need, *, presses: bool, now: datetime) -> int | None:
        """How many calls that need so much may begin now; None where nothing is known that holds them back."""
        rooms = [
            int(self._share(limit, used, wanted, presses, now) / wanted)
            for limit, used in self._known(model, now)
            if (wanted := need.of(limit.kind)) > 0
        ]
        if not rooms:
            return None
        return max(0, min(rooms)) or int(self._takes(model, need, presses, now))

    def next_moment(self, now: datetime) -> datetime | None:
        """When something that was held back may fit, None where nothing is."""
        moments = [self._fits_at(model, *held, now) for model, held in self._held.items()]
        return max(now + SHORTEST_WAIT, min(moments)) if moments else None

    def holds_back(self) -> bool:
        """Whether calls wait for the provider's limits."""
        return bool(self._held)

    def still_held(self, models: Collection[str]) -> None:
        """Calls of these models alone are waiting."""
        self._held = {model: held for model, held in self._held.items() if model in models}

    def _takes(self, model: str, need: Need, presses: bool, now: datetime) -> bool:
        known = self._known(model, now)
        wanted = [need.of(limit.kind) for limit, _ in known]
        if all(
            each <= self._share(*of, each, presses, now)
            for each, of in zip(wanted, known, strict=True)
        ):
            return True
        if self._of(model).under_way:
            return False
        return all(limit.left(now) - used >= limit.limit for limit, used in known) or self._waited(
            model, now
        )

    def _share(
        self, limit: Limit, used: float, wanted: float, presses: bool, now: datetime
    ) -> float:
        """Return the part of a limit that is left to this drain for calls that need `wanted` of it each."""
        return (limit.left(now) - kept_back(limit, wanted, presses=presses)) / self.drains - used

    def _waited(self, model: str, now: datetime) -> bool:
        """Whether nothing of the model began for a window: then one call does, whatever was told."""
        began, held = self._of(model).begun_at, self._held.get(model)
        since = max(
            (each for each in (began, held[2] if held else None) if each is not None), default=now
        )
        return now - since >= WINDOW

    def _fits_at(
        self, model: str, need: Need, presses: bool, since: datetime, now: datetime
    ) -> datetime:
        begun = self._of(model).begun_at
        bound = max(since, begun or since) + WINDOW
        wanted = [
            fits_at(
                limit, (each + used) * self.drains + kept_back(limit, each, presses=presses), now
            )
            for limit, used in self._known(model, now)
            for each in [need.of(limit.kind)]
        ]
        return min(bound, max(wanted, default=now))

    def _known(self, model: str, now: datetime) -> list[tuple[Limit, float]]:
        """The limits of a model that are believed, and what our calls use of each beside what it counts."""
        picture = self._of(model)
        self._forget(picture, now)
        return [
            (limit, picture.used.of(kind))
            for kind, limit in picture.limits.items()
            if self._disbelieved.get((model, kind), now) <= now
        ]

    # How it is counted

    def _of(self, model: str) -> _Picture:
        picture = self._pictures.get(model)
        if picture is None:
            picture = self._pictures[model] = _Picture()
        return picture

    def _see(
        self, picture: _Picture, limits: Iterable[Limit], counted: int, seen_at: datetime
    ) -> None:
        picture.limits, picture.counted, picture.seen_at = (
            {each.kind: each for each in limits},
            counted,
            seen_at,
        )
        self._forget(picture, seen_at)

    def _forget(self, picture: _Picture, now: datetime) -> None:
        """The picture's charges are those of calls that it does not count, and that began within a window."""
        while picture.uncounted:
            number = next(iter(picture.uncounted))
            call = picture.uncounted[number]
            if number > picture.counted and now - call.at <= WINDOW:
                return
            del picture.uncounted[number]
            picture.used = picture.used.less(call.need) if picture.uncounted else NOTHING
            if call.ended:
                self._calls.pop(call.key, None)

    def _settle(self, picture: _Picture, call: _Call, used: Need, now: datetime) -> None:
        """What was reserved and not used is there again: in our charges, or in a picture that counted the reservation."""
        for kind, limit in [*picture.limits.items()]:
            if used.of(kind) > limit.limit:
                self._disbelieved[call.model, kind] = now + DISBELIEF
                self._note(
                    f"{call.model}: a call took {used.of(kind):,.0f} of {limit.limit:,} {kind} a minute; "
                    "that limit is not believed for five minutes"
                )
            if call.number < picture.counted and kind in (LimitKind.OUTPUT, LimitKind.TOKENS):
                picture.limits[kind] = limit.returned(call.need.of(kind) - used.of(kind))
        if call.number in picture.uncounted:
            picture.used = picture.used.less(call.need).plus(used)
        call.need = used

    def _note(self, note: str) -> None:
        if note not in self._noted and len(self._noted) < MOST_NOTES:
            self._noted.add(note)
            self._untold.append(note)


def presses(pack: Sequence[ClaimedWork], now: datetime) -> bool:
    """Whether a call has the reserve too: one of its items is urgent, says when it is due, or waits a window too long."""
    return any(
        each.urgent or each.due_at is not None or now - each.rank_at >= WINDOW for each in pack
    )
