"""The bill of each lane for live work, from the figures: list prices, days, other models and savings."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from lanes.advice.evidence import MODELS, DayUse, LaneUse, ModelPrice
from lanes.advice.savings import Billed, PriceList, Savings, TokenPrices, savings
from lanes.ids import VersionId
from lanes.routing.lane_rules import binds
from lanes.statistics.figures import Durations
from lanes.store.figures.reading import select_kind, sum_column, sum_usd
from lanes.words import Lane, Purpose, Reason
from lanes.workload.prices import per_token

Models = Mapping[Lane, str]


@dataclass(frozen=True)
class Spent:
    """The bill of a lane for answers and authoritative passes, including retries but neither shadows nor replays.

    Only the tokens of valid answers are counted: every other billed attempt makes these answers dearer.
    """

    usd: float
    answered: int
    input_tokens: int
    output_tokens: int


def sum_spending(counted: Iterable[Any], version: VersionId) -> dict[Lane, Spent]:
    """Return the bill of a version's attempts, which is their parts of the responses, for each lane with any cost."""
    tries = [each for each in select_kind(counted, "attempt") if each.version_id == version]
    by_lane = {lane: [each for each in tries if each.lane == lane] for lane in Lane}
    return {lane: _sum_tries(of) for lane, of in by_lane.items() if any(each.usd for each in of)}


def count_answers_of_others(counted: Iterable[Any], version: VersionId) -> int:
    """Return the number of valid answers by other versions."""
    return sum(
        each.n
        for each in select_kind(counted, "attempt")
        if each.word == "valid" and each.version_id != version
    )


def _sum_tries(tries: Sequence[Any]) -> Spent:
    answers = [each for each in tries if each.word == "valid"]
    usd = sum_usd(tries, "usd")
    return Spent(
        float(usd),
        *(sum_column(answers, measure) for measure in ("items", "input_tokens", "output_tokens")),
    )


class ListPrices:
    """Today's list prices of a workload's models; empty if one of the models no longer has a price."""

    def __init__(self, models: Models, now: datetime) -> None:
        self._day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        self._models = models
        try:
            self._known = {
                (model, lane): _token(model, lane, lane, self._day)
                for lane in Lane
                for model in models.values()
            }
        except LookupError:
            self._known = {}

    def compute_cost(self, used: Iterable[Spent], lane: Lane) -> float:
        """Return the uncached cost of these tokens with the lane's model, in US dollars; 0 if no price is known."""
        return _compute_cost(used, self._known.get((self._models[lane], lane)))

    def use(
        self, lane: Lane, billed: Mapping[Lane, Spent], timed: Mapping[Any, Durations] | None = None
    ) -> LaneUse:
        """Return a lane's use in the period, or on one of its days."""
        spending, first = billed.get(lane), (timed or {}).get(lane)
        return LaneUse(
            answered=spending.answered if spending else 0,
            billed_usd=spending.usd if spending else 0.0,
            list_usd=self.compute_cost([spending] if spending else [], Lane.REALTIME),
            p95_s=first.percentile_s(0.95) if first else None,
            timed=first.count if first else 0,
        )

    def batch_share(self, billed: Mapping[Lane, Spent], *, otherwise: float) -> float:
        """Return the batch list price of the answers' tokens divided by the real-time one; `otherwise` if that is 0."""
        realtime = self.compute_cost(billed.values(), Lane.REALTIME)
        return self.compute_cost(billed.values(), Lane.BATCH) / realtime if realtime else otherwise

    def discount(self, *, otherwise: float) -> float:
        """Return the batch discount on an input token of the batch model, from 0 to 1; `otherwise` if no price is known."""
        if not self._known:
            return otherwise
        model = self._models[Lane.BATCH]
        full = self._known[model, Lane.REALTIME].input
        return float(1 - self._known[model, Lane.BATCH].input / full) if full else otherwise

    def others(self, billed: Mapping[Lane, Spent]) -> list[ModelPrice]:
        """Return the relative prices of the same tokens with other models, on both lanes; empty if nothing was answered."""
        ours = {lane: self.compute_cost(billed.values(), lane) for lane in Lane}
        found: list[ModelPrice] = []
        for name in MODELS:
            if all(name == each for each in self._models.values()) or not all(ours.values()):
                continue
            try:
                theirs = {
                    lane: _compute_cost(billed.values(), _token(name, lane, lane, self._day))
                    for lane in Lane
                }
            except LookupError:
                continue
            factors = {lane: theirs[lane] / ours[lane] for lane in Lane}
            found.append(ModelPrice(name, factors[Lane.REALTIME], factors[Lane.BATCH]))
        return found

    def compute_savings(self, counted: Iterable[Any], shared_tokens: int) -> Savings | None:
        """Return the saving by each part; None if nothing was answered or a price is unknown."""
        rows = list(counted)
        if not self._known:
            return None
        realtime, batch = self._models[Lane.REALTIME], self._models[Lane.BATCH]
        prices = PriceList(
            {lane: _token(realtime, Lane.REALTIME, lane, self._day) for lane in Lane},
            _token(batch, Lane.REALTIME, Lane.BATCH, self._day),
            self._known[batch, Lane.BATCH],
        )
        return savings(
            _group_calls(rows),
            prices,
            shared_tokens=shared_tokens,
            chosen=_compute_free_share(rows),
        )


def _token(model: str, lane: Lane, cache: Lane, day: datetime) -> TokenPrices:
    """Return the price of a token of each kind; `cache` is the caching lane: real-time for 5 minutes, batch for an hour.

    Raises:
        LookupError: no price is known for the model.
    """
    each = per_token(model, lane, day)
    return TokenPrices(each.input, each.output, each.cache_read, each.cache_write(cache))


def _compute_cost(used: Iterable[Spent], price: TokenPrices | None) -> float:
    if price is None:
        return 0.0
    into, out = float(price.input), float(price.output)
    return sum((each.input_tokens * into + each.output_tokens * out for each in used), 0.0)


def _group_calls(rows: Sequence[Any]) -> list[Billed]:
    """Return the calls of each lane, for answers and for second passes."""
    answers = Counter[Lane]()
    for row in select_kind(rows, "attempt"):
        if row.word == "valid" and row.purpose == Purpose.ANSWER:
            answers[Lane(row.lane)] += row.items
    calls = defaultdict[tuple[str, str], list[Any]](list)
    for row in select_kind(rows, "call"):
        calls[row.lane, row.purpose].append(row)
    return [
        _sum_calls(Lane(lane), purpose, of, answers[Lane(lane)])
        for (lane, purpose), of in calls.items()
    ]


def _sum_calls(lane: Lane, purpose: str, calls: Sequence[Any], answers: int) -> Billed:
    """Sum the calls of all days; second passes produce no first answers."""
    is_second = purpose != Purpose.ANSWER
    prompt, cached, written = (
        sum_column(calls, measure)
        for measure in ("input_tokens", "cached_tokens", "written_tokens")
    )
    return Billed(
        lane,
        is_second,
        sum_column(calls, "n"),
        sum_column(calls, "items"),
        0 if is_second else answers,
        prompt - cached - written,
        cached,
        written,
        sum_column(calls, "output_tokens"),
        sum_usd(calls, "usd"),
    )


def _compute_free_share(rows: Iterable[Any]) -> float:
    """Return the share of batch routes that routing chose freely, without a reason that binds the item to batch."""
    to_batch = [each for each in select_kind(rows, "route") if each.lane == Lane.BATCH]
    free = sum(each.n for each in to_batch if binds(Reason(each.word), Lane.BATCH) is None)
    return free / max(1, sum(each.n for each in to_batch))


def days_seen(
    counted: Sequence[Any],
    arrived: Iterable[Any],
    prices: ListPrices,
    first_at: datetime | None,
    now: datetime,
    version: VersionId,
) -> list[DayUse]:
    """Return the use of each UTC day from the first item's to today: the elapsed share of the day, items, bill and answers."""
    if first_at is None:
        return []
    items = Counter[date]()
    for row in arrived:
        items[row.day] += row.n
    by_day: dict[date, list[Any]] = {}
    for row in counted:
        if row.kind == "attempt":
            by_day.setdefault(row.day, []).append(row)
    first, last = first_at.astimezone(UTC), now.astimezone(UTC)
    found: list[DayUse] = []
    for number in range((last.date() - first.date()).days + 1):
        day = first.date() + timedelta(days=number)
        begins = datetime(day.year, day.month, day.day, tzinfo=UTC)
        length = (min(last, begins + timedelta(days=1)) - max(first, begins)) / timedelta(days=1)
        billed = sum_spending(by_day.get(day, ()), version)
        found.append(
            DayUse(
                length,
                items[day],
                *(prices.use(lane, billed) for lane in (Lane.REALTIME, Lane.BATCH)),
            )
        )
    return found
