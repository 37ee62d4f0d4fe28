"""The provider's rate limits: only plausible headers count, calls start only within the limits, and no call waits for ever.

The limits are those of the stand-in.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropic_standin.errors import ApiError
from anthropic_standin.limits import AccountLimits, EndpointSettings
from lanes.realtime.headers import ToldLimits, read_limits
from lanes.realtime.token_buckets import TokenBuckets
from lanes.routing.capacity import RESERVE, WINDOW, Limit, LimitKind, Need
from tests.conftest import NOON, later

MODEL = "claude-haiku-5-5"
STEP = timedelta(milliseconds=250)
Headers = dict[str, str]


def begins(
    mine: TokenBuckets, key: Hashable, model: str, need: Need, *, presses: bool, now: datetime
) -> bool:
    """Start a call that has waited since noon if it fits now, and return whether it started."""
    fits = mine.wait(model, need, presses=presses, since=NOON, now=now) is None
    if fits:
        mine.charge(key, model, need, now=now)
    return fits


@dataclass
class LimitedProvider:
    """A provider with limits per minute, and `drains` that call it; time passes in steps."""

    requests: float | None = None
    input: float | None = None
    output: float | None = None
    call_s: float = 1.0
    drains: int = 1
    lie: Callable[[Headers], Headers] = lambda headers: headers
    now: datetime = NOON
    refused: int = 0
    answered: dict[int, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        set_ = EndpointSettings(
            requests_per_minute=self.requests, input_tokens_per_minute=self.input
        )
        set_.output_tokens_per_minute = self.output
        self.provider = AccountLimits(set_)
        self.known = [TokenBuckets(drains=self.drains) for _ in range(self.drains)]

    def headers(self) -> Headers:
        stamp = self.provider.headers(self.now.timestamp())
        return self.lie({name.decode(): value.decode() for name, value in stamp})

    def run(
        self,
        needs: list[Need],
        *,
        minutes: float,
        used: float = 0.1,
        press: frozenset[int] = frozenset(),
    ) -> None:
        """Run calls that all wait from the start; each uses the fraction `used` of its reserved output."""
        waiting = [(number, need, number % self.drains) for number, need in enumerate(needs)]
        under_way: list[tuple[datetime, int, Need, int, object]] = []
        for _ in range(int(timedelta(minutes=minutes) / STEP)):
            for ends, number, need, drain, charge in [
                each for each in under_way if each[0] <= self.now
            ]:
                under_way.remove((ends, number, need, drain, charge))
                self.provider.spend(charge, int(need.input), int(need.output * used))  # pyright: ignore[reportArgumentType]
                self.known[drain].learn_limits(
                    MODEL, read_limits(self.headers(), now=self.now), key=number, now=self.now
                )
                self.known[drain].end(number, Need(need.input, need.output * used), now=self.now)
                self.answered[number] = self.now
            still, resting = [], set[int]()
            for number, need, drain in sorted(waiting, key=lambda each: each[0] not in press):
                mine = self.known[drain]
                if drain in resting or not begins(
                    mine, number, MODEL, need, presses=number in press, now=self.now
                ):
                    still.append((number, need, drain))
                    continue
                try:
                    charge = self.provider.admit(
                        self.now.timestamp(), int(need.input), int(need.output)
                    )
                except ApiError:
                    self.refused += 1
                    mine.learn_limits(
                        MODEL, read_limits(self.headers(), now=self.now), key=number, now=self.now
                    )
                    mine.end(number, Need(0, 0, 0), now=self.now)
                    still.append((number, need, drain))
                    resting.add(drain)
                    continue
                under_way.append(
                    (self.now + timedelta(seconds=self.call_s), number, need, drain, charge)
                )
            waiting = still
            self._share()
            if not waiting and not under_way:
                return
            self.now += STEP

    def _share(self) -> None:
        seen: list[list[Limit]] = [mine.list_limits().get(MODEL, []) for mine in self.known]
        newest = max(seen, key=lambda limits: max((each.seen_at for each in limits), default=NOON))
        for mine in self.known if newest else []:
            mine.learn_shared(MODEL, newest)


FIRST = 1  # calls before any limit is known


def warmed(world: LimitedProvider) -> LimitedProvider:
    """Report the limits to every drain with a first answer, and return the provider."""
    for mine in world.known:
        charge = world.provider.admit(world.now.timestamp(), 1, 1)
        mine.charge("first", MODEL, Need(1, 1), now=world.now)
        world.provider.spend(charge, 1, 1)
        mine.learn_limits(
            MODEL, read_limits(world.headers(), now=world.now), key="first", now=world.now
        )
        mine.end("first", Need(1, 1), now=world.now)
    return world


@given(
    requests=st.none() | st.integers(2, 120),
    input=st.none() | st.integers(2_000, 50_000),
    output=st.none() | st.integers(2_000, 20_000),
    call_s=st.floats(0, 8),
    needs=st.lists(
        st.builds(Need, st.integers(1, 1_500), st.integers(1, 1_000), st.just(1)), max_size=120
    ),
)
def test_one_drain_never_exceeds_the_rate_limits_and_answers_every_call(
    requests: int | None, input: int | None, output: int | None, call_s: float, needs: list[Need]
) -> None:
    world = warmed(LimitedProvider(requests, input, output, call_s=call_s))
    most = max(
        (
            sum(each.of(kind) for each in needs) / limit
            for kind, limit in (
                (LimitKind.REQUESTS, requests),
                (LimitKind.INPUT, input),
                (LimitKind.OUTPUT, output),
            )
            if limit
        ),
        default=0,
    )
    world.run(needs, minutes=5 + 2 * most + len(needs) * call_s / 20)
    assert len(world.answered) == len(needs)
    assert world.refused == 0


@pytest.mark.slow
@given(
    requests=st.integers(12, 120),
    drains=st.integers(2, 4),
    call_s=st.floats(0.25, 4),
    calls=st.integers(1, 100),
)
def test_drains_that_share_their_limits_are_rarely_refused_and_answer_every_call(
    requests: int, drains: int, call_s: float, calls: int
) -> None:
    world = warmed(LimitedProvider(requests, call_s=call_s, drains=drains))
    world.run([Need(10, 10)] * calls, minutes=5 + 3 * calls / requests)
    assert len(world.answered) == calls
    assert world.refused <= max(2, 0.1 * calls)


def never(headers: Headers) -> Headers:
    return headers | {name: "0" for name in headers if name.endswith("remaining")}


def tiny(headers: Headers) -> Headers:
    return headers | {name: "1" for name in headers if name.endswith(("limit", "remaining"))}


def nonsense(headers: Headers) -> Headers:
    return dict.fromkeys(headers, "-7")


def forever(headers: Headers) -> Headers:
    return never(headers) | {
        name: "2099-01-01T00:00:00Z" for name in headers if name.endswith("reset")
    }


@pytest.mark.parametrize("lie", [never, tiny, nonsense, forever, lambda _: {}])
def test_false_headers_never_stop_the_lane_for_longer_than_a_minute(
    lie: Callable[[Headers], Headers],
) -> None:
    world = LimitedProvider(lie=lie)
    world.run([Need(500, 500)] * 10, minutes=11)
    moments = [NOON, *sorted(world.answered.values())]
    assert len(world.answered) == 10
    assert max(after - before for before, after in pairwise(moments)) <= WINDOW + timedelta(
        seconds=3
    )


def test_a_limit_that_was_exceeded_without_a_refusal_is_ignored_and_noted_once() -> None:
    world = warmed(LimitedProvider(lie=tiny))
    world.run([Need(500, 500)] * 10, minutes=2, used=1)
    assert len(world.answered) == 10
    notes = world.known[0].take_notes()
    assert len(notes) == len(set(notes)) > 0
    assert world.known[0].take_notes() == []


def test_the_reserve_is_kept_for_pressing_calls() -> None:
    world = warmed(LimitedProvider(50, call_s=100))
    world.run([Need(1, 1)] * 100, minutes=0.01)
    assert world.known[0].charged_calls == 50 * (1 - RESERVE) - FIRST
    assert begins(world.known[0], "urgent", MODEL, Need(1, 1), presses=True, now=world.now)
    assert not begins(world.known[0], "other", MODEL, Need(1, 1), presses=False, now=world.now)


def test_output_is_charged_for_the_longest_answer_and_the_unused_part_is_refunded_at_once() -> None:
    world = warmed(LimitedProvider(output=10_000))
    mine = world.known[0]
    begun = [
        key for key in range(10) if begins(mine, key, MODEL, Need(1, 1_000), presses=True, now=NOON)
    ]
    assert len(begun) == 9  # the first call has used one token
    mine.end(0, Need(1, 20), now=NOON)
    assert begins(mine, "next", MODEL, Need(1, 980), presses=True, now=NOON)
    assert not begins(mine, "after", MODEL, Need(1, 1_000), presses=True, now=NOON)


def test_limits_from_an_older_call_do_not_replace_limits_from_a_newer_call() -> None:
    mine = TokenBuckets()
    for key in ("old", "new"):
        mine.charge(key, MODEL, Need(1, 1), now=NOON)
    mine.learn_limits(
        MODEL,
        ToldLimits([Limit(LimitKind.REQUESTS, 50, 3, later(minutes=1), NOON)], []),
        key="new",
        now=NOON,
    )
    mine.learn_limits(
        MODEL,
        ToldLimits([Limit(LimitKind.REQUESTS, 50, 40, later(minutes=1), NOON)], []),
        key="old",
        now=NOON,
    )
    assert mine.room(MODEL, Need(1, 1), presses=True, now=NOON) == 3


def test_a_call_larger_than_a_whole_limit_starts_alone_once_the_limit_is_full() -> None:
    mine = warmed(LimitedProvider(output=500)).known[0]
    assert not begins(mine, "huge", MODEL, Need(1, 5_000), presses=False, now=NOON)
    assert begins(mine, "huge", MODEL, Need(1, 5_000), presses=False, now=later(minutes=1))
    assert not begins(mine, "huge too", MODEL, Need(1, 5_000), presses=False, now=later(minutes=1))


def test_a_waiting_call_gets_the_time_at_which_it_fits() -> None:
    mine = warmed(LimitedProvider(60)).known[0]
    while begins(mine, object(), MODEL, Need(1, 1), presses=True, now=NOON):
        pass
    until = mine.wait(MODEL, Need(1, 1), presses=True, since=NOON, now=NOON)
    assert until == later(seconds=1)
    assert begins(mine, "next", MODEL, Need(1, 1), presses=True, now=later(seconds=1))


def test_no_call_waits_without_reported_limits_and_ended_calls_are_forgotten_after_a_minute() -> (
    None
):
    mine = TokenBuckets()
    for key in range(5_000):
        assert begins(mine, key, MODEL, Need(1, 1), presses=False, now=NOON)
        mine.end(key, Need(1, 1), now=NOON)
    assert begins(mine, "next", MODEL, Need(1, 1), presses=False, now=later(minutes=2))
    assert mine.charged_calls == 1


def headers(
    kind: str = "requests", *, limit: object = 50, remaining: object = 20, reset: object = None
) -> dict[str, str]:
    said = {
        "limit": limit,
        "remaining": remaining,
        "reset": later(seconds=36).isoformat() if reset is None else reset,
    }
    return {f"anthropic-ratelimit-{kind}-{part}": str(value) for part, value in said.items()}


def test_a_limit_is_read_with_its_remainder_and_refills_until_its_reset_time() -> None:
    (limit,) = read_limits(headers(), now=NOON).limits
    assert (limit.kind, limit.limit, limit.remaining, limit.reset_at) == (
        LimitKind.REQUESTS,
        50,
        20,
        later(seconds=36),
    )
    assert [limit.estimate_remaining(later(seconds=s)) for s in (0, 12, 36, 500)] == [
        20,
        30,
        50,
        50,
    ]


def test_the_case_of_header_names_does_not_matter() -> None:
    assert read_limits(
        {name.title(): value for name, value in headers().items()}, now=NOON
    ) == read_limits(headers(), now=NOON)


def test_a_total_token_limit_counts_only_without_separate_input_and_output_limits() -> None:
    together = headers("tokens", limit=100_000)
    assert [each.kind for each in read_limits(together, now=NOON).limits] == [LimitKind.TOKENS]
    apart = headers("input-tokens") | headers("output-tokens") | together
    assert [each.kind for each in read_limits(apart, now=NOON).limits] == [
        LimitKind.INPUT,
        LimitKind.OUTPUT,
    ]


def test_a_reset_is_measured_from_the_providers_own_clock() -> None:
    ahead = NOON + timedelta(hours=3)
    said = headers(reset=(ahead + timedelta(seconds=30)).isoformat()) | {
        "date": format_datetime(ahead, usegmt=True)
    }
    assert read_limits(said, now=NOON).limits[0].reset_at == later(seconds=30)


@pytest.mark.parametrize(
    "lie",
    [
        {"limit": -5},
        {"limit": 0},
        {"limit": "many"},
        {"limit": "9" * 400},
        {"limit": "٣"},
        {"remaining": -1},
        {"remaining": ""},
        {"remaining": "nan"},
        {"reset": "tomorrow"},
        {"reset": "9" * 400},
    ],
)
def test_an_impossible_limit_is_ignored_with_one_note_and_other_limits_are_used(
    lie: dict[str, object],
) -> None:
    said = read_limits(headers("requests", **lie) | headers("input-tokens"), now=NOON)
    assert [each.kind for each in said.limits] == [LimitKind.INPUT]
    assert len(said.notes) == 1


@pytest.mark.parametrize(
    "reset", ["1999-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "2026-11-24T12:05:00"]
)
def test_a_reset_in_the_past_or_far_ahead_becomes_one_minute_with_a_note(reset: str) -> None:
    said = read_limits(headers(reset=reset), now=NOON)
    assert said.limits[0].reset_at == NOON + WINDOW
    assert len(said.notes) == 1


def test_a_remainder_above_its_limit_is_cut_to_the_limit_with_a_note() -> None:
    said = read_limits(headers(remaining=51), now=NOON)
    assert said.limits[0].remaining == 50
    assert len(said.notes) == 1


def test_missing_headers_give_no_limits_and_no_notes() -> None:
    assert read_limits({"content-type": "application/json"}, now=NOON).limits == []
    assert read_limits({}, now=NOON).notes == []


PARTS = [
    f"anthropic-ratelimit-{kind}-{part}"
    for kind in ("requests", "input-tokens", "tokens")
    for part in ("limit", "remaining", "reset")
]


@given(
    st.dictionaries(
        st.sampled_from([*PARTS, "date"]), st.text(max_size=40) | st.integers().map(str)
    )
)
def test_every_limit_that_is_read_from_any_headers_is_plausible(said: dict[str, str]) -> None:
    for each in read_limits(said, now=NOON).limits:
        assert each.limit >= 1
        assert 0 <= each.remaining <= each.limit
        assert each.seen_at == NOON <= each.reset_at <= NOON + WINDOW
