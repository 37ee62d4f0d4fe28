"""Proposed rollouts for a terminal and as a Prefect Markdown artifact: saving, confidence, risk, and the reads behind them."""

from collections.abc import Mapping, Sequence
from math import floor

from lanes.advice.evidence import LATE_SHARE, RealtimeNeed
from lanes.advice.proposals import ProposalFigures, ProposedRollout
from lanes.ids import ProposalId
from lanes.report import advice, charts
from lanes.report.links import REPORTS, render_links
from lanes.report.table import NO_BREAK, Table, figure, label, phrase, render_markdown
from lanes.text import cell, code
from lanes.units import dollars, pluralize, seconds, sentence, share
from lanes.words import ProposalState

CHART = "How long after they came answers were read, and when a batch would have been back"
SINCE = "As they were proposed; `lanes proposals` shows what became of them since."
NONE_OPEN = "No rollout is proposed."
LINKS = (
    ("Decide", "/v2/deployments?flowOrDeploymentName=decide_proposal"),
    ("Advice", "/v2/artifacts?name=lanes-advice-"),
    REPORTS,
)


def key(workload: str) -> str:
    """Return the key of the artifact."""
    return f"lanes-proposals-{workload}"


def headline(workload: str, proposed: Sequence[ProposedRollout]) -> str:
    """Return the proposals for a workload in one line."""
    if not proposed:
        return f"{workload}: no rollout is proposed"
    saved = dollars(sum(each.figures.saving_usd for each in proposed))
    return f"{workload}: {pluralize(len(proposed), 'rollout')} to batch proposed, {saved} a month"


def render(
    workload: str,
    proposed: Sequence[ProposedRollout],
    refused: Mapping[str, str],
    forms: Mapping[ProposalId, str],
) -> str:
    """Return the artifact's Markdown.

    `refused` maps each late reader without a proposal to the reason; `forms` maps a proposal to the page of its decision form.
    """
    parts = [f"**{cell(headline(workload, proposed))}**"]
    if proposed:
        parts += [
            render_markdown(glance := table(proposed), most=len(proposed)),
            glance.legend,
            SINCE,
        ]
    for proposal in proposed:
        form = forms.get(proposal.id)
        decide = f"[Approve, edit or decline]({form}) · " if form else ""
        by_command = code(f"lanes proposals approve {proposal.id}")
        parts += [
            f"## {proposal.id}: {cell(proposal.consumer)}",
            f"{decide}{by_command}",
            *(cell(ground, most=400) for ground in describe_grounds(proposal)),
            charts.data_uri(advice.delays(proposal.figures), CHART),
        ]
    if refused:
        lines = [f"- {cell(name)}: {cell(why, most=400)}" for name, why in refused.items()]
        parts += ["## Reads late, and not proposed", "\n".join(lines)]
    return "\n\n".join([*parts, render_links(LINKS)]) + "\n"


def table(proposed: Sequence[ProposedRollout]) -> Table[ProposedRollout]:
    """Return the overview table of the proposals."""
    return Table(
        "Proposed rollouts to batch",
        proposed,
        figure("No.", "number of the proposal", lambda of: str(of.id)),
        label("Workload", lambda of: of.workload),
        label("Consumer", lambda of: of.consumer),
        figure(
            "Saving", "monthly, off the provider's bill", lambda of: dollars(of.figures.saving_usd)
        ),
        figure(
            "Confidence",
            f"at least, that fewer than {share(LATE_SHARE)} are read at once; unknown reads count as such",
            lambda of: _sure(of.figures),
        ),
        figure(
            "Too early",
            "read before a batch is back; at most, with all unknown reads",
            lambda of: _between(of.figures.too_early),
        ),
        phrase("Steps", "percent that stays in real time", _steps),
        phrase("State", "an open one waits for a person", _state),
    )


def describe_grounds(of: ProposedRollout) -> list[str]:
    """Return sentences on the saving, the evidence and the risk of a proposal."""
    figures, early = of.figures, of.figures.too_early
    evidence = (
        f"{pluralize(figures.reads, 'read')} recorded, {figures.at_once:,} of them within a minute, and {figures.unknown:,} "
        f"unknown: fewer than {share(LATE_SHARE)} of the answers are read at once, with at least "
        f"{_sure(figures)} confidence"
    )
    moves = f"{pluralize(round(figures.items), 'item')} a month move to batch by playbook {of.playbook.name} ({_steps(of)})"
    back = f"a batch is likely enough back in {seconds(figures.batch_s)}"
    risk = f"{back}; {_between(early)} of the answers are read before that"
    if figures.waits_s is not None:
        each = _between(
            RealtimeNeed(early.low * figures.items, early.high * figures.items), number=True
        )
        risk += f": {each} items a month, whose reader waits {seconds(figures.waits_s)} longer on average"
    edited = [f"Edited by {of.who}: {of.why}."] if of.state is ProposalState.OPEN and of.who else []
    saved = f"It saves {dollars(figures.saving_usd)} a month: {moves}"
    return [*map(sentence, (saved, evidence, risk)), *edited]


def _steps(proposal: ProposedRollout) -> str:
    return ", ".join(f"{each.percent:g}" for each in proposal.playbook.steps) + f"{NO_BREAK}%"


def _sure(of: ProposalFigures) -> str:
    """Return the confidence as a lower bound, which is never rounded up."""
    return "99.9 %" if of.confidence >= 0.999 else f"{floor(100 * of.confidence)} %"


def _state(proposal: ProposedRollout) -> str:
    match proposal.state:
        case ProposalState.APPROVED:
            return f"approved by {proposal.who}: rollout {proposal.rollout_id}"
        case ProposalState.DECLINED:
            return f"declined by {proposal.who}: {proposal.why}"
        case ProposalState.WITHDRAWN:
            return f"withdrawn: {proposal.why}"
        case ProposalState.OPEN:
            return "open" if proposal.who is None else f"open, edited by {proposal.who}"


def _between(of: RealtimeNeed, *, number: bool = False) -> str:
    low, high = (f"{end:,.0f}" if number else share(end) for end in (of.low, of.high))
    return low if low == high else f"{low} to {high}"
