"""docs/reference/sizing.md: the cost of an item according to BENCHMARKS.json, and the needs of a number of items a month."""

import json
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

from tests.docs.references.markdown import document, table

FILE = Path(__file__).resolve().parents[3] / "BENCHMARKS.json"
ARCHIVED = 1_414  # bytes of an archived item: docs/decisions/0025-archive.md
ARCHIVE_DAYS = 32  # the lower bound of `archive_after_days`
MONTH_DAYS, MONTHS = 30, 12
PEAK = 4  # times the month's mean rate
FULL = 0.7  # the planned utilization of a core
SIZES = {"1 million": 10**6, "100 million": 10**8, "1 billion": 10**9}

ABOUT = """
What an item takes of your machines, as measured, and what 1 million to 1 billion items a month need. What the provider charges
is not in it: see [tune cost](../how-to/tune-cost.md).
"""
NOT_IN_IT = """
- *Your input and its answer*: add their bytes to the disk and to the WAL.
- *The speed of your machine*: on the same type of machine, an item took 2.7 times as much processor time on one day as on
  another (`BENCHMARKS.md`). Measure yours with `make bench NAME=soak`.
- *Batches*: an item in a batch takes less processor time, and as many bytes.
- *Limits in tokens*: multiply the requests by the tokens of a call. A [pack](../concepts/buffering-and-packing.md) of ten items
  is one request.
- *Space that Postgres frees* goes to new rows, not back to the disk ([keep years of data](../how-to/keep-years-of-data.md)).
- *Postgres beyond one machine*: everything is one database. A replica or a backup has to take its WAL in the peak too.
"""


def page() -> str:
    """Return the page."""
    told = json.loads(FILE.read_text())
    soak: Mapping[str, Any] = told["soak"]
    batch: Mapping[str, Any] = told["batch"]
    seen: Mapping[str, float] = soak["more"]
    return document(
        "Sizing",
        ABOUT,
        "## An item",
        _measured(soak),
        table(("of an item in real time", "takes"), [*_of_an_item(seen), *_at_rest(told["queue"])]),
        _of_a_batch(batch),
        "## Items a month",
        f"A peak is {PEAK} times the mean. Cores are {FULL:.0%} busy in the peak, and a drain uses one core. "
        "Disk is that of a year.",
        table(("", *SIZES), _of_a_month(seen)),
        "## What is not in it",
        NOT_IN_IT,
    )


def _measured(soak: Mapping[str, Any]) -> str:
    seen, machine = soak["more"], soak["machine"]
    return (
        f"From `make bench NAME=soak`: {seen['items']:,.0f} items at {seen['rate_per_s']:,.0f} a second, one a call, "
        f"answered in real time by a stand on {machine['cores']} cores ({machine['cpu']}), on {soak['day']}. "
        "Lanes and Prefect share one Postgres, so its processor time and WAL are those of both."
    )


def _of_an_item(seen: Mapping[str, float]) -> list[tuple[str, str]]:
    return [
        ("processor time of Lanes: drains, collector, workers", _ms(seen["lanes_cpu_ms_per_item"])),
        ("processor time of Postgres", _ms(seen["postgres_cpu_ms_per_item"])),
        ("processor time of Prefect's server", _ms(seen["prefect_cpu_ms_per_item"])),
        (
            "bytes on disk, with indexes and a short input and answer",
            _round(seen["bytes_per_item"]),
        ),
        ("bytes of WAL", _round(seen["wal_per_item"])),
        (
            f"sessions of Postgres, at most, for all items together ({seen['drains']:.0f} drains)",
            f"{seen['sessions']:.0f}",
        ),
    ]


def _at_rest(queue: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the row of bytes per item, or no row before the queue benchmark has measured it."""
    bytes_ = queue["figures"].get("bytes_per_item")
    what = "bytes that it adds to a vacuumed database, beside its input (`make bench NAME=queue`)"
    return [(what, _round(bytes_))] if bytes_ else []


def _of_a_batch(batch: Mapping[str, Any]) -> str:
    lanes = batch["seen"]["lanes"]
    both = (lanes["submit_s"] + lanes["apply_s"]) * batch["machine"]["cores"] / batch["items"]
    return (
        f"To submit an item in a batch and to apply its result takes at most {_ms(1000 * both)} of all processors "
        "(`make bench NAME=batch`)."
    )


def _of_a_month(seen: Mapping[str, float]) -> list[tuple[str, ...]]:
    columns = [_needs(items, seen) for items in SIZES.values()]
    return [(name, *(column[name] for column in columns)) for name in columns[0]]


def _needs(items: int, seen: Mapping[str, float]) -> dict[str, str]:
    """Return the needs of `items` items a month, by name."""
    mean = items / (MONTH_DAYS * 86_400)
    peak = PEAK * mean
    cores = {
        part: peak * seen[f"{part}_cpu_ms_per_item"] / 1000 / FULL for part in ("lanes", "postgres")
    }
    drains = ceil(cores["lanes"])
    kept = ARCHIVE_DAYS / MONTH_DAYS
    archived = kept * seen["bytes_per_item"] + (MONTHS - kept) * ARCHIVED
    return {
        "items a second: mean, peak": f"{_round(mean)}, {_round(peak)}",
        "cores of Lanes in the peak": _round(cores["lanes"]),
        "drains": f"{drains}",
        "cores of Postgres in the peak": _round(cores["postgres"]),
        "sessions of Postgres": f"{ceil(seen['sessions'] * max(1.0, drains / max(1.0, seen['drains'])))}",
        "disk, nothing archived": _bytes(MONTHS * items * seen["bytes_per_item"]),
        f"disk, archived after {ARCHIVE_DAYS} days": _bytes(items * archived),
        "WAL a day": _bytes(items / MONTH_DAYS * seen["wal_per_item"]),
        "requests a minute at the provider in the peak, one item a call": _round(60 * peak),
    }


def _ms(value: float) -> str:
    return f"{_round(value)} ms"


def _bytes(value: float) -> str:
    for unit, size in (("TB", 10**12), ("GB", 10**9)):
        if value >= size:
            return f"{_round(value / size)} {unit}"
    return f"{_round(value / 10**6)} MB"


def _round(value: float) -> str:
    """Return a number rounded to two significant digits."""
    return f"{float(f'{value:.2g}'):,g}"
