"""How many tokens a call of a workload takes, from what its calls took. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lanes.money.cost import FRAME_TOKENS, shared_tokens, tokens
from lanes.routing.capacity import Need
from lanes.workload.version import Spec

FEWEST = 20  # tries below which the workload's own settings say more
INPUT_QUANTILE, OUTPUT_QUANTILE = (
    0.9,
    0.95,
)  # calls that take more are made up for by the next answer's headers
LOWEST, HIGHEST = (
    0.01,
    10.0,
)  # what was learned of the characters of a token is believed within these


@dataclass(frozen=True, slots=True)
class Tried:
    """One answered try: the characters of its payload, how many items shared its call, and its part of the call's tokens."""

    characters: int
    items: int
    input: int  # without those read from a cache
    output: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a call takes: `input_ratio` times the estimate by characters and a `frame`; so many output tokens an item."""

    input_ratio: float
    output: float
    frame: float = 0
    tries: int = 0

    def input_of(self, spec: Spec, characters: int) -> float:
        """Input tokens of a call whose items have so many characters in all."""
        return self.frame + self.input_ratio * (shared_tokens(spec) + tokens(characters))

    def usual(self, spec: Spec, characters: int, items: int) -> Need:
        """What a call of so many items takes once it has ended."""
        return Need(self.input_of(spec, characters), self.output * items)


def unlearned(spec: Spec) -> Prediction:
    """What is assumed of a workload that nothing was seen of: a frame around each request, and the expected answer."""
    return Prediction(1.0, spec.expected_output_tokens, FRAME_TOKENS)


def learn(spec: Spec, tries: Sequence[Tried]) -> Prediction:
    """What the newest tries of a workload teach: quantiles, so that few calls take more than was predicted."""
    if len(tries) < FEWEST:
        return unlearned(spec)
    shared = shared_tokens(spec)
    ratios = [
        each.input / max(1.0, shared / max(1, each.items) + tokens(each.characters))
        for each in tries
    ]
    ratio = min(HIGHEST, max(LOWEST, quantile(ratios, INPUT_QUANTILE)))
    return Prediction(
        ratio, quantile([float(each.output) for each in tries], OUTPUT_QUANTILE), tries=len(tries)
    )


def quantile(values: Sequence[float], part: float) -> float:
    """The smallest of the values that so large a part of them does not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]
