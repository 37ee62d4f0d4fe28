"""docs/reference/playbooks.md: the fields of a playbook, the measures of its gates, and the shipped playbooks."""

from collections.abc import Iterable
from pathlib import Path

from lanes.rollouts.gates import BEFORE, COMPARABLE, MOST_TIMES, UPPER, Gate, Measure
from lanes.rollouts.playbook import (
    Direction,
    Length,
    Playbook,
    PlaybookStep,
    Precondition,
    Shadows,
    parse,
)
from tests.docs.references.fields import model_table
from tests.docs.references.glossary import comments
from tests.docs.references.markdown import block, code, document, of_each, table

SHIPPED = Path(__file__).resolve().parents[3] / "migrations" / "playbooks"
ABOUT = """
A playbook moves a workload's undecided items between the lanes, or its new items to a new version, in steps that are measured.
It is a YAML file, or the text of a Prefect block of type *Lanes playbook*; the shipped ones lie in `migrations/playbooks/`.
Deployment `migrate` starts one, by its name, by the path of your own file or by `block:NAME`; file and block have its name.
`lanes publish --canary` starts one that moves a version. Whatever is wrong with it is said with line and field before anything
moves. A rollout keeps the playbook as it was at its start, whatever is edited later.

A rollout never passes a step for lack of data: it holds, and tells why. A failed gate sets the share before the rollout at
once.
"""


def listed(measures: Iterable[Measure]) -> str:
    """Return the names of the measures as a list in a sentence."""
    *first, last = (f"`{each}`" for each in measures)
    return f"{', '.join(first)} and {last}"


OF_PLAYBOOK = {
    "name": 'As its file, without the ending, or its block: a-z, 0-9 and "-".',
    "description": "One sentence for the person who approves it.",
    "direction": "Which lane receives the traffic, or that a new version does. Each step must go further this way than the one "
    "before.",
    "before": "What the batch lane must have shown before the rollout may begin.",
    "shadows": "Sends a part of the items down the other lane too, so that both lanes answer the same items.",
    "steps": "In their order.",
    "approval_within_hours": "How long a person who is asked may take; unanswered for longer, `on_failure` applies.",
    "on_failure": "Always the share that was in force before the rollout.",
    "alpha": "The chance that any verdict of the rollout is ever wrong; each gate of each step has an equal part.",
}
OF_STEP = {
    "percent": "Share of undecided items that go to real-time while the step is in force, or of newly routed items that go to "
    "the new version.",
    "hold": "How much the step must see before it is left.",
    "approval": "Whether a person must approve leaving it.",
    "consecutive_passes": "At how many looks in a row every gate must have passed.",
    "gates": "What must be true before it is left, one gate of a measure at most.",
}
OF_BEFORE = {
    "days": "How many days it looks back.",
    "batches": "So many of the newest batches must all have come back in time, with a result for every item.",
    "gates": f"Conditions on {listed(BEFORE)} of all items that took the batch lane, whatever sent them there.",
}
OF_SHADOWS = {
    "share": "The part of the items whose lane the split decides, on either lane, that go down the other lane too.",
    "budget_usd": "The most that the rollout may spend on them, in US dollars; later items have none.",
}
OF_HOLD = {
    "items": "The number of items of the split that the receiving lane, or version, must have answered under the step, shadows "
    "included.",
    "at_most_minutes": "Without enough evidence for so long it is taken back; an approval starts that time again. None: it "
    "holds for as long as it takes.",
}


OF_GATE = {
    "measure": "What is measured of the items of the receiving lane, or version, since the step began; `agreement` and "
    "`accuracy` with `shadows` of the items that both lanes answered, since the rollout began.",
    "max": f"Largest value that passes, for {listed(UPPER)}.",
    "min": f"Smallest value that passes, for {listed(each for each in Measure if each not in UPPER)}. "
    "Only a saving may be below 0: -0.5 lets an item cost half as much again.",
    "worse_by": "How much larger the share of wrong samples may be than on the other lane, or version, at the same time; "
    "replaces `max` and "
    f"`min` of {listed(each for each in COMPARABLE if each is not Measure.P95_S)}. Beside `max` of `p95_s`, and of a new "
    "version only: samples that took longer than `max` are wrong.",
    "at_least": "Samples below which the gate decides nothing.",
    "dry_run": "`true`: the gate is measured, judged and shown, and decides nothing.",
}
OF_DIRECTIONS = {
    Direction.BATCH_TO_REALTIME: "`percent` rises from step to step",
    Direction.REALTIME_TO_BATCH: "`percent` falls; what goes to batch has no early answer, so no gate can ask for "
    "`correction_rate`, nor for `agreement` without `shadows`",
    Direction.VERSION: "`percent` rises from step to step and ends at 100, after which the new version is in force; what is "
    "compared with the other lane elsewhere is compared with the old version; without `before` and `shadows`",
}
VERDICTS = f"""
| verdict | when | then |
|---|---|---|
| passed | the upper bound of the share on the wrong side lies below what is tolerated | the step can be left |
| inconclusive | fewer than `at_least` samples, or the bounds lie on either side of what is tolerated | it holds |
| failed | the lower bound lies above what is tolerated | it is taken back |
| error | it could not be measured | it holds |

The bounds are a confidence sequence (Robbins, 1970): they hold at all looks together. `alpha`, divided by the number of gates
of all steps, is the chance that those of a gate are ever wrong. A gate that all steps before have too is also judged by the
items of the whole rollout, against the loosest of their limits, and fails by them as well. One with `worse_by`, or on `saving`,
is then judged by the mean difference of all steps; items of different steps are never compared. `max: 0` and `min: 1` are
refused, because no number of samples shows that nothing is wrong.

`cost_usd` and `saving` are means and have a sequence of their own (Waudby-Smith and Ramdas, 2024), which is compared with
the limit itself. A dearer item counts as {MOST_TIMES} times the limit of `cost_usd`, or as {MOST_TIMES} times its own
estimate in a `saving`, so that one item decides nothing. `saving` compares with the other lane, so the step that moves
everything has no such gate. Costs of two versions are both compared with the mean estimate of the old one's newest items.
"""


def page() -> str:
    """Return the page."""
    said = comments(Measure)
    measures = [
        (code(each.value), code("max" if each in UPPER else "min"), said[each.name])
        for each in Measure
    ]
    directions = of_each(
        Direction, {each.value: text for each, text in OF_DIRECTIONS.items()}, what="directions"
    )
    shipped = sorted(SHIPPED.glob("*.yaml"))
    for each in shipped:
        parse(each.stem, each.read_text())
    return document(
        "Playbooks",
        ABOUT,
        "## Fields",
        model_table(Playbook, OF_PLAYBOOK),
        "### before",
        model_table(Precondition, OF_BEFORE),
        "### shadows",
        model_table(Shadows, OF_SHADOWS),
        "### steps",
        model_table(PlaybookStep, OF_STEP),
        "### hold",
        model_table(Length, OF_HOLD),
        "### gates",
        model_table(Gate, OF_GATE),
        "## Directions",
        table(
            ("direction", "what it means"),
            [(code(each), text) for each, text in directions.items()],
        ),
        "## Measures",
        "Shares are 0 to 1: write 5 % as 0.05.",
        table(("measure", "limited by", "what it is"), measures),
        "## Verdicts",
        VERDICTS,
        "## The shipped ones",
        *(block("yaml", each.read_text()) for each in shipped),
    )
