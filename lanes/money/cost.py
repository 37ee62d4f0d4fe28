"""Token estimates, upper bounds of a call's cost, and the division of a shared bill."""

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from itertools import starmap
from typing import TYPE_CHECKING, NamedTuple

from lanes.json_data import octets
from lanes.money.caching import build_write_usage
from lanes.packing import FRAME_CHARS
from lanes.words import Lane
from lanes.workload.prices import Usage, cost

if TYPE_CHECKING:
    from lanes.workload.version import Spec, Version

CHARS_PER_TOKEN = 4  # Anthropic's rule of thumb for English text
LEDGER_DIGITS = 10  # decimals of a US dollar that the ledger stores
FRAME_TOKENS = 400  # tokens that the provider adds for the output format, and a pack for its rule
# The same in bytes, with the names of the body's fields and the rules that we add to the instructions.
FRAME_BYTES = 1_200
PER_SCHEMA_BYTES = 64  # bytes that the SDK and a pack add to each object of a schema
PACK_MARGIN_TOKENS = 32  # extra tokens of an answer within a pack, for its id and its frame


class BillPart(NamedTuple):
    """An attempt's part of its response, in tokens and US dollars."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    usd: Decimal = Decimal(0)


def tokens(text: str | int) -> int:
    """Estimate the tokens of a text, or of a number of characters; rough, and additive."""
    length = text if isinstance(text, int) else len(text)
    return -(-length // CHARS_PER_TOKEN)


def estimate_shared_tokens(spec: "Spec") -> int:
    """Estimate the input tokens that every call of a workload repeats: instructions and output schema."""
    return tokens(spec.instructions) + tokens(json.dumps(spec.output_schema))


def prompt_tokens(spec: "Spec", pack: int, payload_chars: int, history_chars: int = 0) -> Decimal:
    """Estimate the input tokens of an item, with its part of what a pack of `pack` items shares.

    `history_chars` is the length of the context that is sent with the item; a rule explains the context once per call.
    """
    shared = estimate_shared_tokens(spec)
    if history_chars:
        # Imported here because `lanes status` loads no workload models.
        from lanes.workload.context import rule

        shared += tokens(rule(spec.context.parts))
    return Decimal(shared) / pack + tokens(payload_chars + history_chars)


def most_answer_tokens(spec: "Spec", items: int) -> int:
    """Return the most tokens that a call of `items` items may answer; in a pack, each answer carries its item's id."""
    return items * (spec.max_output_tokens + (PACK_MARGIN_TOKENS if items > 1 else 0))


def upper_bound(
    version: "Version", size: int, *, lane: Lane, marked: bool = True, at: datetime
) -> Decimal:
    """Return the most that one item's call can have cost, in US dollars; `size` is the item's `call_bytes`.

    The bound counts one token per byte sent, the longest answer, and the shared part as written to the provider's cache, unless
    the call is known not to be `marked`. 0 if the model's price is no longer known.
    """
    return pack_bound(version, size, items=1, lane=lane, marked=marked, at=at)


def pack_bound(
    version: "Version", size: int, *, items: int, lane: Lane, marked: bool = True, at: datetime
) -> Decimal:
    """Return the most that one call for `items` items can have cost, in US dollars; `size` is the sum of their `call_bytes`.

    The bounds of single items add up to at least the bound of a call that they share, as long as its prompt stays below the
    length at which prices rise (`pack_size.most_bytes`). 0 if the model's price is no longer known.
    """
    spec = version.spec
    shared = bound_shared_bytes(spec)
    if lane is Lane.BATCH and (parts := spec.context.parts):
        from lanes.workload.context import rule

        shared += octets(rule(parts))
    own = size + (items - 1) * FRAME_CHARS  # the frame includes one item's name
    output = items * (spec.max_output_tokens + PACK_MARGIN_TOKENS)
    plain = Usage(input=shared + own, output=output)
    dearest = (
        build_write_usage(lane, shared)._replace(input=own, output=output) if marked else plain
    )
    try:
        return max(
            cost(each, model=spec.model_of(lane), lane=lane, at=at) for each in {plain, dearest}
        )
    except LookupError:
        return Decimal(0)


def bound_shared_bytes(spec: "Spec") -> int:
    """Return the most bytes that every call of a workload repeats: instructions, output schema and the frame of both.

    The SDK rewrites the schema: it moves keywords that the provider does not support into escaped descriptions, and closes
    every object.
    """
    schema = json.dumps(spec.output_schema)
    rewritten = len(json.dumps(schema)) + schema.count("{") * PER_SCHEMA_BYTES
    return octets(spec.instructions) + rewritten + FRAME_BYTES


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Divide `total` among `weights` by the largest remainder, into whole parts that sum exactly to `total`.

    Among equal remainders, the earlier part gets the unit. If all weights are zero, the parts are equal.
    Source: Hamilton's method of apportionment.
    """
    if not weights:
        return []
    if sum(weights) == 0:
        weights = [1] * len(weights)
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts


def allocate_usd(total: Decimal, weights: Sequence[int]) -> list[Decimal]:
    """Divide US dollars like `allocate`, in units of the ledger's last digit, or of the total's own if that is finer."""
    exponent = total.as_tuple().exponent
    assert isinstance(exponent, int)
    decimals = max(-exponent, LEDGER_DIGITS)
    return [
        Decimal(part).scaleb(-decimals) for part in allocate(int(total.scaleb(decimals)), weights)
    ]


def divide(used: Usage, usd: Decimal, number: int) -> list[BillPart]:
    """Return each item's part of a response that `number` items shared; the parts sum exactly to the response."""
    if number == 1:
        return [BillPart(used.input, used.output, used.cache_read, used.cache_write, usd)]
    even = [1] * number
    shares = zip(
        allocate(used.input, even),
        allocate(used.output, even),
        allocate(used.cache_read, even),
        allocate(used.cache_write, even),
        allocate_usd(usd, even),
        strict=True,
    )
    return list(starmap(BillPart, shares))
