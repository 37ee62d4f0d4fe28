"""A replay as a Prefect Markdown artifact: how far it is, what it would change, and what can be decided."""

import json
from collections.abc import Mapping
from typing import Any

from lanes.replays.replay import Diff, Generation
from lanes.report.section import Legend, explained
from lanes.text import cell
from lanes.units import MISSING, count, counted, share
from lanes.words import ReplayState

MOST_BYTES = 50_000
LONGEST_OUTPUT = 240
FACTS: Legend = {
    "Read": "positions of the stream, of those asked for",
    "Items with work": "that the replay answers",
    "Answered by both": "items with an answer that is shown, and one of the replay",
    "Would change": "where a compared field differs",
}
FIELDS: Legend = {
    "Changed": "items in which the field differs, compared or not",
    "Share": "of the items answered by both",
    "Labels": "where somebody said what is right",
    "Right now, Right in the replay": "the share of labels that the answer agrees with",
}
NEXT = {
    ReplayState.RUNNING: "Its work is under way. Nothing that readers see changes until it is promoted.",
    ReplayState.COMPLETE: "Promote it with `lanes promote {workload}`, or forget it with `lanes drop {workload}`.",
    ReplayState.PROMOTED: "Its results are current. `lanes demote {workload}` restores what was shown before.",
    ReplayState.DEMOTED: "What was shown before is shown again. It may be promoted again, or dropped.",
    ReplayState.DROPPED: "It is forgotten.",
}


def headline(of: Generation, found: Diff) -> str:
    """The replay in one line, for the description of the artifact."""
    said = f"Generation {of.number}, version {of.version}: {of.state}"
    if not found.items:
        return f"{said}, nothing answered yet"
    return f"{said}, {share(found.share)} of {counted(found.items, 'item')} would change"


def render(of: Generation, found: Diff) -> str:
    """The whole artifact, below 50 KB: examples are left out from the end until it is."""
    most = len(found.examples)
    while len((artifact := _joined(of, found, most)).encode()) >= MOST_BYTES and most > 0:
        most -= 1
    return artifact


def _joined(of: Generation, found: Diff, most: int) -> str:
    return "\n\n".join(part for part in _parts(of, found, most) if part) + "\n"


def _parts(of: Generation, found: Diff, most: int) -> list[str]:
    return [
        f"# Replay of {cell(of.workload)}",
        f"**{cell(headline(of, found))}.** {NEXT[of.state].format(workload=of.workload)}",
        _facts(of, found),
        _fields(found),
        _examples(found, most),
        "[Replay runs](/v2/runs?tags=replay) · [Reports](/v2/artifacts/key/lanes-report)",
    ]


def _facts(of: Generation, found: Diff) -> str:
    rows = [
        (
            "Read",
            f"positions {count(of.from_position)} to {count(min(of.cursor_position, of.to_position))} "
            f"of {count(of.to_position)}",
        ),
        ("Items with work", count(of.items)),
        ("Answered by both", count(found.items)),
        (
            "Would change",
            f"{count(found.differing)} ({share(found.share)})" if found.items else MISSING,
        ),
        ("Asked by", cell(of.who)),
        ("Why", cell(of.why)),
    ]
    return "\n".join(
        [
            "| What | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows),
            "",
            explained(FACTS),
        ]
    )


def _fields(found: Diff) -> str:
    if not found.items:
        return ""
    names = sorted(
        {*found.fields, *found.agreement}, key=lambda name: (-found.fields.get(name, 0), name)
    )
    if not names:
        return "### Fields\n\nEvery answer is the same."
    rows = [
        "| Field | Changed | Share | Labels | Right now | Right in the replay |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name in names:
        changed, known = found.fields.get(name, 0), found.agreement.get(name)
        labels = (
            [
                count(known.labels),
                share(known.current_right / known.labels),
                share(known.replayed_right / known.labels),
            ]
            if known
            else [MISSING] * 3
        )
        rows.append(
            f"| {cell(name)} | {count(changed)} | {share(changed / found.items)} | {' | '.join(labels)} |"
        )
    return "\n".join(["### Fields", "", *rows, "", explained(FIELDS)])


def _examples(found: Diff, most: int) -> str:
    if not most:
        return ""
    rows = [
        f"| {cell(each.key, most=60)} | {_some(each.current, each.changed_fields)} | "
        f"{_some(each.replayed, each.changed_fields)} |"
        for each in found.examples[:most]
    ]
    title = f"### Examples of {counted(found.differing, 'changed answer')}"
    return "\n".join([title, "", "| Key | Now | In the replay |", "|---|---|---|", *rows])


def _some(output: Mapping[str, Any], names: list[str]) -> str:
    shown = {name: output[name] for name in names if name in output}
    return cell(json.dumps(shown, ensure_ascii=False), most=LONGEST_OUTPUT)
