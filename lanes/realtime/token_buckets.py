"""The provider's rate limits as a limiter: the needs of a drain's calls, the limits that answers report, and the fit of both.

    limits reported (headers of an answer, or from another drain) -> the newest picture of a model
    call begins                                                   -> its need is charged, output tokens by `max_tokens`
    call ends                                                     -> the unused part of the charge is refunded

A picture counts every call that began before the call whose answer reported it. Later calls are charged here until the next
picture. So the limits are never overestimated for long, whatever the duration of the calls.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lanes.ids import VersionId
from lanes.money.cost import most_answer_tokens, tokens
from lanes.money.pack_size import most_items
from lanes.realtime.headers import ToldLimits, read_limits
from lanes.realtime.limiter import MAY_START, Limiter, MayStart, Pack, Wait, WaitReason
from lanes.routing.capacity import (
    WINDOW,
    Limit,
    LimitKind,
    Need,
    Prediction,
    assume_prediction,
    compute_reserve,
    fits_at,
)
from lanes.words import Lane
from lanes.workload.version import Version

SHORTEST_WAIT = timedelta(milliseconds=50)
# The picture of another drain counts only our calls that are older than it by at least this time.
ON_ITS_WAY = timedelta(seconds=1)
DISBELIEF = timedelta(minutes=5)  # ignores a limit that a call exceeded without a refusal
NOTHING = Need(0, 0, 0)
# A picture up to this age, with this share of each limit left, needs no update.
NEW, AMPLE = timedelta(seconds=0.2), 0.5
MOST_NOTES = 50  # notes that one drain logs, so that ever new invalid limits cannot flood the log
SOON = timedelta(seconds=1)  # work whose call fits within this time is claimed and stays claimed
KEPT = 256  # versions whose newest call is remembered


@dataclass(slots=True)
class _Call:
    """A call of this drain that the picture of its model may not count yet."""

    key: Hashable
    number: int
    model: str
    need: Need
    at: datetime
    ended: bool = False


@dataclass(slots=True)
class _Picture:
    """The newest limits of a model.

    `counted` is the number of the last call that the limits count. Later calls are `uncounted`, in their order, and `used` is
    the sum of their needs.
    """

    limits: dict[LimitKind, Limit] = field(default_factory=dict)
    counted: int = 0
    seen_at: datetime | None = None
    uncounted: dict[int, _Call] = field(default_factory=dict)
    used: Need = NOTHING
    under_way: int = 0
    begun_at: datetime | None = None


class TokenBuckets:
    """The rate limits of one account, as one of its `drains` knows them. Without a picture of its model no call waits."""

    def __init__(self, *, drains: int = 1) -> None:
        self.drains = drains
        self._pictures: dict[str, _Picture] = {}
        self._calls: dict[Hashable, _Call] = {}
        self._number = 0
        self._disbelieved: dict[tuple[str, LimitKind], datetime] = {}
        self._noted: set[str] = set()
        self._untold: list[str] = []

    def learn_limits(
        self, model: str, account_limits: ToldLimits, *, key: Hashable, now: datetime
    ) -> None:
        """Store the limits that the answer to call `key` reported, unless the answer to a newer call has reported them."""
        for note in account_limits.notes:
            self._note(f"{model}: {note}")
        call, picture = self._calls.get(key), self._of(model)
        if account_limits.limits and call is not None and call.number >= picture.counted:
            self._see(picture, account_limits.limits, call.number, now)

    def is_ample(self, model: str, now: datetime) -> bool:
        """Return whether the picture is so new, and so much of the limits is left, that the next headers need not be read."""
        seen_at = self._of(model).seen_at
        if seen_at is None or not timedelta(0) <= now - seen_at < NEW:
            return False
        return all(
            limit.estimate_remaining(now) - used >= AMPLE * limit.limit
            for limit, used in self._list_known(model, now)
        )

    def learn_shared(self, model: str, limits: Sequence[Limit]) -> None:
        """Store the limits that another drain saw, if they are newer than those that this drain saw."""
        seen_at, picture = max(each.seen_at for each in limits), self._of(model)
        if picture.seen_at is not None and seen_at <= picture.seen_at:
            return
        surely = [
            each.number for each in picture.uncounted.values() if each.at <= seen_at - ON_ITS_WAY
        ]
        self._see(picture, limits, max(surely, default=picture.counted), seen_at)

    def list_limits(self) -> dict[str, list[Limit]]:
        """Return the newest limits of each model."""
        return {
            model: [*picture.limits.values()]
            for model, picture in self._pictures.items()
            if picture.limits
        }

    @property
    def charged_calls(self) -> int:
        """The number of calls that are in flight or not counted in any picture yet."""
        return len(self._calls)

    def take_notes(self) -> list[str]:
        """Return the new notes on invalid limits since the last call; each problem is noted only once."""
        notes, self._untold = self._untold, []
        return notes

    def charge(self, key: Hashable, model: str, need: Need, *, now: datetime) -> None:
        """Charge the need of a call that starts; the caller must call `end` later."""
        self._number += 1
        call = self._calls[key] = _Call(key, self._number, model, need, now)
        picture = self._of(model)
        picture.under_way += 1
        picture.begun_at = now
        self._forget(picture, now)
        picture.uncounted[call.number] = call
        picture.used = picture.used.plus(need)

    def end(self, key: Hashable, used: Need | None, *, now: datetime) -> None:
        """End a call. `used` is the actual use; without an answer (None) the need stays charged for a window."""
        call = self._calls.get(key)
        if call is None or call.ended:
            return
        call.ended, picture = True, self._of(call.model)
        picture.under_way -= 1
        if used is not None:
            self._settle(picture, call, used, now)
        if call.number not in picture.uncounted:
            del self._calls[key]

    def room(self, model: str, need: Need, *, presses: bool, now: datetime) -> int | None:
        """Return the number of calls with this need that may start now; None if no limit is known."""
        rooms = [
            int(self._share(limit, used, amount, presses, now) / amount)
            for limit, used in self._list_known(model, now)
            if (amount := need.of(limit.kind)) > 0
        ]
        if not rooms:
            return None
        return max(0, min(rooms)) or int(self._takes(model, need, presses, None, now))

    def wait(
        self, model: str, need: Need, *, presses: bool, since: datetime, now: datetime
    ) -> datetime | None:
        """Return the time when a call that has waited `since` may fit, None if now; one that `presses` may use the reserve."""
        if self._takes(model, need, presses, since, now):
            return None
        begun = self._of(model).begun_at
        bound = max(since, begun or since) + WINDOW
        wanted = [
            fits_at(
                limit,
                (each + used) * self.drains + compute_reserve(limit, each, presses=presses),
                now,
            )
            for limit, used in self._list_known(model, now)
            for each in [need.of(limit.kind)]
        ]
        return max(now + SHORTEST_WAIT, min(bound, max(wanted, default=now)))

    def _takes(
        self, model: str, need: Need, presses: bool, since: datetime | None, now: datetime
    ) -> bool:
        known = self._list_known(model, now)
        if all(
            (amount := need.of(limit.kind)) <= self._share(limit, used, amount, presses, now)
            for limit, used in known
        ):
            return True
        if self._of(model).under_way:
            return False
        is_full = all(limit.estimate_remaining(now) - used >= limit.limit for limit, used in known)
        return is_full or self._has_waited(model, since, now)

    def _share(
        self, limit: Limit, used: float, amount: float, presses: bool, now: datetime
    ) -> float:
        """Return this drain's share of what is left of a limit, for calls that each need the same amount of it."""
        return (
            limit.estimate_remaining(now) - compute_reserve(limit, amount, presses=presses)
        ) / self.drains - used

    def _has_waited(self, model: str, since: datetime | None, now: datetime) -> bool:
        """Return whether no call of the model has started for a window; then one may start, whatever the reported limits."""
        moments = [each for each in (self._of(model).begun_at, since) if each is not None]
        return now - max(moments, default=now) >= WINDOW

    def _list_known(self, model: str, now: datetime) -> list[tuple[Limit, float]]:
        """Return the limits of a model that are not ignored, each with its use by our uncounted calls."""
        picture = self._of(model)
        self._forget(picture, now)
        return [
            (limit, picture.used.of(kind))
            for kind, limit in picture.limits.items()
            if self._disbelieved.get((model, kind), now) <= now
        ]

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
        """Remove the calls that the picture counts or that began more than a window ago."""
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
        """Refund the unused part of a call's need, to our charges or to a picture that counted it.

        A limit that the call's use exceeded is ignored for a while, because the provider accepted the call.
        """
        for kind, limit in [*picture.limits.items()]:
            if used.of(kind) > limit.limit:
                self._disbelieved[call.model, kind] = now + DISBELIEF
                self._note(
                    f"{call.model}: a call took {used.of(kind):,.0f} of {limit.limit:,} {kind} a minute; "
                    "that limit is ignored for five minutes"
                )
            if call.number < picture.counted and kind in (LimitKind.OUTPUT, LimitKind.TOKENS):
                picture.limits[kind] = limit.refund(call.need.of(kind) - used.of(kind))
        if call.number in picture.uncounted:
            picture.used = picture.used.less(call.need).plus(used)
        call.need = used

    def _note(self, note: str) -> None:
        if note not in self._noted and len(self._noted) < MOST_NOTES:
            self._noted.add(note)
            self._untold.append(note)


class CallNeeds:
    """The needs of calls: from the learned predictions, else from the workloads' settings."""

    def __init__(self) -> None:
        self._learned: Mapping[str, Prediction] = {}
        # Input tokens of a call without items, and per token of its items.
        self._empty: dict[VersionId, tuple[float, float]] = {}
        self._newest: dict[VersionId, tuple[Version, Need]] = {}

    @property
    def versions(self) -> Sequence[Version]:
        """The versions of the newest calls, one of each workload."""
        return [*{version.workload: version for version, _ in self._newest.values()}.values()]

    def learn(self, predictions: Mapping[str, Prediction]) -> None:
        """Store the predictions by workload; they replace the earlier ones."""
        self._learned = predictions
        self._empty.clear()

    def of(self, pack: Pack) -> Need:
        """Return the need of the call at its start: its predicted input, and its `max_tokens` as output."""
        version = pack.version
        empty, ratio = self._empty.get(version.id) or self._learn_empty(version)
        need = Need(
            empty + ratio * tokens(pack.characters),
            most_answer_tokens(version.spec, len(pack.items)),
        )
        if pack.measures:
            return need  # shadows travel alone, so they are not typical calls
        while len(self._newest) >= KEPT and version.id not in self._newest:
            del self._newest[next(iter(self._newest))]
        self._newest[version.id] = version, need
        return need

    def usual(self, version: Version) -> Need:
        """Return the need of the version's newest call; before the first call, no input and the longest answer."""
        known = self._newest.get(version.id)
        if known is not None:
            return known[1]
        return Need(0, most_answer_tokens(version.spec, most_items(version.spec, Lane.REALTIME)))

    def _learn_empty(self, version: Version) -> tuple[float, float]:
        known = self._learned.get(version.workload) or assume_prediction(version.spec)
        made = self._empty[version.id] = known.input_of(version.spec, 0), known.input_ratio
        return made


class RateLimits(Limiter):
    """The provider's rate limits as a limiter for one drain."""

    def __init__(self) -> None:
        self.buckets, self.needs = TokenBuckets(), CallNeeds()

    def learn_headers(self, pack: Pack, headers: Mapping[str, str], now: datetime) -> None:
        """Store the limits in the headers of an answer of any status; while much is left, only a few a second are read."""
        if not self.buckets.is_ample(pack.model, now):
            self.buckets.learn_limits(
                pack.model, read_limits(headers, now=now), key=pack.id, now=now
            )

    def admits(self, pack: Pack, now: datetime) -> MayStart | Wait:
        """Admit a pack if its need fits into every limit of its model."""
        until = self.buckets.wait(
            pack.model, self.needs.of(pack), presses=pack.presses(now), since=pack.since, now=now
        )
        return MAY_START if until is None else Wait(until, WaitReason.RATE_LIMIT)

    def room(self, version: Version, now: datetime) -> int | None:
        """Return the number of usual calls that fit within a second, with the reserve; None if no limit is known."""
        return self._room(version, True, now)

    def only_reserve(self, version: Version, now: datetime) -> bool:
        """Return whether no call fits within a second without the reserve, which only a pressing pack may use."""
        return self._room(version, False, now) == 0

    def started(self, pack: Pack, now: datetime) -> None:
        """Charge the call."""
        self.buckets.charge(pack.id, pack.model, self.needs.of(pack), now=now)

    def ended(self, pack: Pack, used: Need | None, now: datetime) -> None:
        """Refund the need that the call did not use."""
        self.buckets.end(pack.id, used, now=now)

    def _room(self, version: Version, presses: bool, now: datetime) -> int | None:
        need = self.needs.usual(version)
        return self.buckets.room(version.spec.realtime_model, need, presses=presses, now=now + SOON)
