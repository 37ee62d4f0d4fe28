"""A replay as a Prefect Markdown artifact: how far it is, what it would change, and what can be decided."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from lanes.replays.replay import Agreement, Diff, Generation, Preview
from lanes.report.links import REPORTS, linked
from lanes.report.table import Table, explained, figure, in_markdown, label
from lanes.text import cell, plain
from lanes.units import MISSING, count, counted, share, usd
from lanes.words import ReplayState

MOST_BYTES = 50_000
LONGEST_OUTPUT = 240
FACTS = {
    "Read": "positions of the stream, of those requested",
    "Items with work": "that the replay answers",
    "Unchanged": "items that would be asked as they were: they keep their answers",
    "Erased": "selected items whose payload is gone",
    "Answered by both": "items with a current answer and one of the replay",
    "Would change": "where a compared field differs",
}
NEXT = {
    ReplayState.RUNNING: "Its work is in progress. Readers see no change until it is promoted.",
    ReplayState.COMPLETE: "Promote it with `lanes promote {workload}`, or drop it with `lanes drop {workload}`.",
    ReplayState.PROMOTED: "Its results are current. `lanes demote {workload}` restores the earlier ones.",
    ReplayState.DEMOTED: "The earlier results are shown again. Promote it again, or drop it.",
    ReplayState.DROPPED: "It is dropped.",
}


def headline(of: Generation, found: Diff) -> str:
    """Summarise the replay in one line, for the description of the artifact."""
    said = f"Generation {of.number}, version {of.version}: {of.state}"
    if not found.items:
        return f"{said}, nothing answered yet{_left_out(of)}"
    return f"{said}, {share(found.share)} of {counted(found.items, 'item')} would change{_left_out(of)}"


def progress(of: Generation) -> str:
    """Say how many items the replay asks, and how many it leaves out."""
    said = f"{counted(of.items, 'item')} will be answered by version {of.version}"
    return said + _left_out(of)


def previewed(seen: Preview) -> str:
    """Say what a replay would ask, leave out and cost on each lane."""
    said = f"{counted(seen.items, 'item')} at positions {seen.from_position} to {seen.to_position} with version {seen.version}"
    said += f", about {usd(seen.batch_usd)} on the batch lane ({usd(seen.realtime_usd)} in real time){_left_out(seen)}"
    if seen.examples:
        said += f"; for example {', '.join(plain(key, most=60) for key in seen.examples)}"
    if seen.unmet:
        said += f"; {counted(seen.unmet, 'item')} cannot be tried by the condition: {seen.unmet_because}"
    return said


def _left_out(of: Generation | Preview) -> str:
    said = (
        f"; {count(of.skipped)} would be asked as they were and keep their answers"
        if of.skipped
        else ""
    )
    return said + (f"; {count(of.erased)} were erased and are left out" if of.erased else "")


def render(of: Generation, found: Diff) -> str:
    """Render the whole artifact below 50 KB; examples are left out from the end until it fits."""
    most = len(found.examples)
    while len((artifact := _rendered(of, found, most)).encode()) >= MOST_BYTES and most > 0:
        most -= 1
    return artifact


def _rendered(of: Generation, found: Diff, most: int) -> str:
    parts = [
        f"# Replay of {cell(of.workload)}",
        f"**{cell(headline(of, found))}.** {NEXT[of.state].format(workload=of.workload)}",
        _facts(of, found),
        _fields(found),
        _examples(found, most),
        linked((("Replay runs", "/v2/runs?tags=replay"), REPORTS)),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _facts(of: Generation, found: Diff) -> str:
    until = count(min(of.cursor_position, of.to_position))
    read = f"positions {count(of.from_position)} to {until} of {count(of.to_position)}"
    changes = f"{count(found.differing)} ({share(found.share)})" if found.items else MISSING
    rows = [
        ("Read", read),
        ("Items with work", count(of.items)),
        ("Unchanged", count(of.skipped)),
        ("Erased", count(of.erased)),
        ("Selected by", cell(of.selection.said) or MISSING),
        ("Answered by both", count(found.items)),
        ("Would change", changes),
        ("Requested by", cell(of.who)),
        ("Why", cell(of.why)),
    ]
    lines = ["| What | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join([*lines, "", explained(FACTS)])


def _fields(found: Diff) -> str:
    if not found.items:
        return ""
    changed = dict.fromkeys(found.agreement, 0) | found.fields
    names = sorted(changed, key=lambda name: (-changed[name], name))
    if not names:
        return "### Fields\n\nEvery answer is the same."

    def labelled(said: Callable[[Agreement], str]) -> Callable[[str], str]:
        return lambda name: said(found.agreement[name]) if name in found.agreement else MISSING

    right_now = labelled(lambda of: share(of.current_right / of.labels))
    right_then = labelled(lambda of: share(of.replayed_right / of.labels))
    table = Table(
        "Fields",
        names,
        label("Field", lambda name: name),
        figure(
            "Changed", "items in which it differs, compared or not", lambda of: count(changed[of])
        ),
        figure(
            "Share", "of the items answered by both", lambda of: share(changed[of] / found.items)
        ),
        figure("Labels", "labels for the field", labelled(lambda of: count(of.labels))),
        figure("Right now", "share of labels that the current answer agrees with", right_now),
        figure("Right in the replay", "the same for the replay's answer", right_then),
    )
    return f"### Fields\n\n{in_markdown(table, most=len(names))}\n\n{table.legend}"


def _examples(found: Diff, most: int) -> str:
    if not most:
        return ""
    table = Table(
        f"Examples of {counted(found.differing, 'changed answer')}",
        found.examples[:most],
        label("Key", lambda of: plain(of.key, most=60)),
        label("Now", lambda of: _some(of.current, of.changed_fields)),
        label("In the replay", lambda of: _some(of.replayed, of.changed_fields)),
    )
    return f"### {table.title}\n\n{in_markdown(table, most=most)}"


def _some(output: Mapping[str, Any], names: list[str]) -> str:
    shown = {name: output[name] for name in names if name in output}
    return plain(json.dumps(shown, ensure_ascii=False), most=LONGEST_OUTPUT)
