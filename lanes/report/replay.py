"""A replay as a Prefect Markdown artifact: its progress, the changes it would make, and the possible decisions."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from lanes.report import charts
from lanes.report.charts import NEUTRAL, REALTIME, Bar, Group, data_uri
from lanes.report.links import REPORTS, render_links, versions_page
from lanes.report.table import (
    Column,
    Table,
    describe_hidden_rows,
    figure,
    label,
    phrase,
    render_legend,
    render_markdown,
)
from lanes.rollouts.replays import Agreement, ChangeKind, Diff, Generation, Preview, change_bounds
from lanes.routing.prospect import percent
from lanes.text import cell, plain
from lanes.units import MISSING, count, pluralize, share, usd
from lanes.words import Lane, ReplayState

MOST_BYTES = 50_000
LONGEST_OUTPUT = 240
MOST_KINDS = 30  # of change in the artifact
MOST_CLASSES = 40
EXAMPLES_ON_FORM = 5
MOST_BARS = 12
PALE = "#9ca3af"  # light enough for the line of the bounds to be visible
BETWEEN = "with bounds that hold however often one looks, at 95 %"
FACTS = {
    "Read": "positions of the stream, of those requested",
    "Items with work": "that the replay answers",
    "Unchanged": "items that would be asked as they were: they keep their answers",
    "Erased": "selected items whose payload is gone",
    "Selected by": "the conditions that its items met; without any all items of its range",
    "Answered by both": "items with a current answer and one of the replay",
    "Would change": "where a compared field differs",
}
NEXT = {
    ReplayState.RUNNING: "Its work is in progress. Readers see no change until it is promoted.",
    ReplayState.COMPLETE: "Promote it with `lanes promote {workload}` or the form "
    "[promote](/v2/deployments?flowOrDeploymentName=promote), or drop it with `lanes drop {workload}`.",
    ReplayState.PROMOTED: "Its results are current. `lanes demote {workload}` restores the earlier ones.",
    ReplayState.DEMOTED: "The earlier results are shown again. Promote it again, or drop it.",
    ReplayState.DROPPED: "It is dropped.",
}


def artifact_key(generation: Generation) -> str:
    """Return the key of the artifact."""
    return f"lanes-replay-{generation.workload}"


def headline(generation: Generation, diff: Diff) -> str:
    """Return the replay in one line, for the description of the artifact."""
    start = f"Generation {generation.number}, version {generation.version}: {generation.state}"
    if not diff.items:
        return f"{start}, nothing answered yet{_describe_skipped(generation)}"
    return f"{start}, {make_headline(diff)}{_describe_skipped(generation)}"


def make_headline(diff: Diff) -> str:
    """Return the share of items that would change."""
    return f"{share(diff.share)} of {pluralize(diff.items, 'item')} would change"


def progress(generation: Generation) -> str:
    """Return a sentence on how many items the replay answers, and how many it leaves out."""
    message = (
        f"{pluralize(generation.items, 'item')} will be answered by version {generation.version}"
    )
    return message + _describe_skipped(generation)


def describe_preview(preview: Preview) -> str:
    """Return a sentence on the items that a replay would answer and leave out, and on its cost on each lane."""
    items = pluralize(preview.items, "item")
    text = f"{items} at positions {preview.from_position} to {preview.to_position} with version {preview.version}"
    prices = {
        f"{usd(preview.batch_usd)} on the batch lane": Lane.BATCH,
        f"{usd(preview.realtime_usd)} in real time": Lane.REALTIME,
    }
    ends = {lane: f"by {end:%Y-%m-%d %H:%M} UTC" for lane, end in preview.ends.items()}
    each = (f"{text} ({ends.get(lane, 'no room now')})" for text, lane in prices.items())
    text += f", about {', '.join(each)}, {percent(preview.probability)} sure{_describe_skipped(preview)}"
    if preview.examples:
        text += f"; for example {', '.join(plain(key, most=60) for key in preview.examples)}"
    if preview.unmet:
        text += f"; {pluralize(preview.unmet, 'item')} cannot be tried by the condition: {preview.unmet_because}"
    return text


def _describe_skipped(of: Generation | Preview) -> str:
    message = (
        f"; {count(of.skipped)} would be asked as they were and keep their answers"
        if of.skipped
        else ""
    )
    return message + (f"; {count(of.erased)} were erased and are left out" if of.erased else "")


def render(generation: Generation, diff: Diff) -> str:
    """Render the artifact below 50 KB; leave out kinds of change from the end until it fits."""
    most = min(len(diff.kinds), MOST_KINDS)
    while (
        len((artifact := _render_page(generation, diff, most)).encode()) >= MOST_BYTES and most > 0
    ):
        most -= 1
    return artifact


def question(generation: Generation, diff: Diff, action: str) -> str:
    """Return the question to the person who may promote or demote the replay: its diff, and the effect of approval."""
    now = "the results of the replay" if action == "promote" else "the results from before it"
    parts = [
        f"**{cell(headline(generation, diff))}.**",
        _fields(diff),
        _classes(diff),
        _kinds(diff, EXAMPLES_ON_FORM),
        f"Approve: readers get {now}. Decline: they keep what they get.",
        f"The whole diff, with its picture: [{artifact_key(generation)}]({versions_page(artifact_key(generation))})",
    ]
    return "\n\n".join(filter(None, parts))


def _render_page(generation: Generation, diff: Diff, most: int) -> str:
    parts = [
        f"# Replay of {cell(generation.workload)}",
        f"**{cell(headline(generation, diff))}.** {NEXT[generation.state].format(workload=generation.workload)}",
        picture(diff),
        _facts(generation, diff),
        _fields(diff),
        _classes(diff),
        _kinds(diff, most),
        render_links((("Replay runs", "/v2/runs?tags=replay"), REPORTS)),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _facts(generation: Generation, diff: Diff) -> str:
    until = count(min(generation.cursor_position, generation.to_position))
    read = (
        f"positions {count(generation.from_position)} to {until} of {count(generation.to_position)}"
    )
    changes = f"{count(diff.differing)} ({share(diff.share)})" if diff.items else MISSING
    rows = [
        ("Read", read),
        ("Items with work", count(generation.items)),
        ("Unchanged", count(generation.skipped)),
        ("Erased", count(generation.erased)),
        ("Selected by", cell(generation.selection.conditions) or MISSING),
        ("Answered by both", count(diff.items)),
        ("Would change", changes),
        ("Requested by", cell(generation.who)),
        ("Why", cell(generation.why)),
    ]
    lines = ["| What | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join([*lines, "", render_legend(FACTS)])


def _fields(diff: Diff) -> str:
    if not diff.items:
        return ""
    changed = dict.fromkeys(diff.agreement, 0) | diff.fields
    names = sorted(changed, key=lambda name: (-changed[name], name))
    if not names:
        return "### Fields\n\nEvery answer is the same."
    table = Table(
        "Fields",
        names,
        label("Field", lambda name: name),
        figure(
            "Changed", "items in which it differs, compared or not", lambda of: count(changed[of])
        ),
        figure(
            "Share",
            f"of the items answered by both, {BETWEEN}",
            lambda of: _format_share(changed[of], diff.items),
        ),
        *_labels(lambda name: diff.agreement.get(name, Agreement())),
    )
    return f"### Fields\n\n{render_markdown(table, most=len(names))}\n\n{table.legend}"


def _classes(diff: Diff) -> str:
    if not diff.classes:
        return ""
    names = sorted(diff.classes, key=lambda name: (-diff.classes[name].changed, name))
    of = diff.classes.__getitem__
    table = Table(
        f"Classes of {plain(diff.class_field, most=60)}",
        names,
        label("Class", lambda name: plain(name, most=60)),
        figure("Items", "items that are shown in the class", lambda name: count(of(name).items)),
        figure(
            "Changed", "of them, items that get another class", lambda name: count(of(name).changed)
        ),
        figure(
            "Share",
            f"of its items, {BETWEEN}",
            lambda name: _format_share(of(name).changed, of(name).items),
        ),
        *_labels(lambda name: of(name).agreement),
    )
    legend = render_legend({each.head: each.meaning for each in table.columns[1:4]})
    return f"### {cell(table.title)}\n\n{render_markdown(table, most=MOST_CLASSES)}\n\n{legend}"


def _labels(agreement: Callable[[str], Agreement]) -> tuple[Column[str], ...]:
    """Return the columns about the labels of a field or class."""

    def require_labels(describe: Callable[[Agreement], str]) -> Callable[[str], str]:
        return lambda name: describe(agreement(name)) if agreement(name).labels else MISSING

    return (
        figure(
            "Labels", "labels that say what is right", require_labels(lambda of: count(of.labels))
        ),
        figure(
            "Right now",
            "share of labels that the current answer agrees with",
            require_labels(lambda of: share(of.current_right / of.labels)),
        ),
        figure(
            "Right in the replay",
            "the same for the replay's answer",
            require_labels(lambda of: share(of.replayed_right / of.labels)),
        ),
        figure(
            "Gain",
            f"percentage points by which the replay is more often right, {BETWEEN}",
            require_labels(_format_gain),
        ),
    )


def _format_gain(of: Agreement) -> str:
    low, high = of.gain
    seen = (of.replayed_right - of.current_right) / of.labels
    return f"{100 * seen:+.0f} ({100 * low:+.0f} to {100 * high:+.0f})"


def _format_share(changed: int, items: int) -> str:
    if not items:
        return MISSING
    low, high = change_bounds(changed, items)
    return f"{share(changed / items)} ({share(low)} to {share(high)})"


def picture(diff: Diff) -> str:
    """Draw the shares that would change and the accuracy of both sides, as a Markdown image; empty without an item."""
    if not diff.items:
        return ""
    changes = [("All items", diff.differing, diff.items)]
    by_share = sorted(diff.classes.items(), key=lambda each: -each[1].changed)
    changes += [(name, of.changed, of.items) for name, of in by_share[:MOST_BARS] if of.items]
    bars = [
        Bar(
            plain(name, most=40),
            changed / items,
            _format_share(changed, items),
            PALE,
            change_bounds(changed, items),
        )
        for name, changed, items in changes
    ]
    groups = [Group("Answers that would change", bars)]
    for name, of in sorted(diff.agreement.items()):
        now, then = of.current_right / of.labels, of.replayed_right / of.labels
        heading = f"{plain(name, most=40)}: right by {pluralize(of.labels, 'label')}"
        sides = ("Now", now, NEUTRAL), ("In the replay", then, REALTIME)
        groups.append(
            Group(
                heading,
                [Bar(side, of_side, share(of_side), color) for side, of_side, color in sides],
            )
        )
    alt = f"{make_headline(diff)}, by class and by label"
    return data_uri(charts.bars(groups[: 1 + MOST_BARS]), alt)


def _kinds(diff: Diff, most: int) -> str:
    shown = diff.kinds[:most]
    if not shown:
        return ""
    table = Table(
        f"{pluralize(len(diff.kinds), 'kind')} of change in {pluralize(diff.differing, 'answer')}",
        shown,
        label("Field", lambda of: plain(of.field_name, most=60)),
        phrase(
            "Change",
            "from the value now to that in the replay, where the schema lists the field's values",
            lambda of: plain(of.change, most=120) or "another value",
        ),
        figure("Items", "items that change in this way", lambda of: count(of.items)),
        phrase("For example", "keys of up to three of them; the answers are of the first", _keys),
        label("Now", lambda of: _some(of.examples[0].current, of.examples[0].changed_fields)),
        label(
            "In the replay",
            lambda of: _some(of.examples[0].replayed, of.examples[0].changed_fields),
        ),
    )
    left = f"\n\n{out}" if (out := describe_hidden_rows(len(diff.kinds), most)) else ""
    return f"### {table.title}\n\n{render_markdown(table, most=most)}{left}\n\n{table.legend}"


def _keys(of: ChangeKind) -> str:
    return ", ".join(plain(each.key, most=40) for each in of.examples)


def _some(output: Mapping[str, Any], names: list[str]) -> str:
    shown = {name: output[name] for name in names if name in output}
    return plain(json.dumps(shown, ensure_ascii=False), most=LONGEST_OUTPUT)
