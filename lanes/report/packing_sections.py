"""Packs and windows as tables of plain text."""

from lanes.money.always_valid import SampleShare
from lanes.report import legends, summary
from lanes.report.section import Section
from lanes.report.snapshot import Snapshot
from lanes.units import MISSING, clock, ratio, seconds, share, usd
from lanes.words import FlushReason


def sections(snapshot: Snapshot) -> list[Section]:
    """How many items share a call, and how they gather."""
    return [packs(snapshot), windows(snapshot)]


def packs(snapshot: Snapshot) -> Section:
    """How many items share a call, and whether that does them harm."""
    rows = [
        (
            summary.title_of(each),
            "as allowed" if each.size is None else f"{each.size} of {each.allowed}",
            _agreed(each.packed),
            _agreed(each.alone),
            MISSING if each.since is None else clock(each.since, beside=snapshot.taken_at),
            each.why or MISSING,
            usd(each.checks_usd),
        )
        for each in snapshot.packs
    ]
    heads = (
        "Lane",
        "Packs of",
        "Packed agrees",
        "Single with single",
        "Since",
        "Because",
        "Checks",
    )
    return Section("Pack sizes", heads, "lrrrllr", rows, legend=legends.PACKS)


def windows(snapshot: Snapshot) -> Section:
    """How long real-time items gather, and why they leave."""
    rows = [
        (
            each.workload,
            ratio(each.items_per_call),
            seconds(each.mean_wait_s),
            *(share(each.left.get(why, 0) / each.items) for why in FlushReason),
        )
        for each in snapshot.windows
    ]
    heads = (
        "Workload",
        "Items / call",
        "Mean wait",
        "Left full",
        "Pressed",
        "Over",
        "Nobody expected",
    )
    return Section("Windows of real time", heads, "lrrrrrr", rows, legend=legends.WINDOWS)


def _agreed(of: SampleShare) -> str:
    return MISSING if of.value is None else f"{of.value:.2f} (n {of.samples:,})"
