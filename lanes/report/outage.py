"""What a drain's run says in Prefect while nobody answers it: the message of its state, and a Markdown artifact."""

from collections.abc import Sequence
from datetime import datetime

from lanes.promises.briefing import Stake
from lanes.realtime.health import Standstill
from lanes.report.links import REPORT, versions_page
from lanes.text import cell, plain
from lanes.units import clock, counted

KEY = "lanes-outage"  # of the artifact's versions
MOST_ERROR = 300
KEPT = "What asks them waits, keeps its rank, spends no retry budget and is asked again by itself"
LINKS = " · ".join(
    f"[{name}]({page})"
    for name, page in (
        ("Incidents", '/v2/events?events=["lanes.incident.opened"]'),
        ("Real-time runs", "/v2/runs?tags=realtime"),
        ("Reports", versions_page(REPORT)),
    )
)


def message(standing: Sequence[Standstill], *, now: datetime) -> str:
    """The message of the run's state: who answers nothing, since when, and what the last call met."""
    if not standing:
        return f"The provider answers again, since {clock(now, beside=now)}"
    said = [
        f"{each.whom} answers nothing since {clock(each.since, beside=now)}: {plain(each.why, most=MOST_ERROR)}"
        for each in standing
    ]
    return f"{'; '.join(said)}. {KEPT}"


def headline(standing: Sequence[Standstill]) -> str:
    """What the artifact's header says."""
    if not standing:
        return "The provider answers again"
    return f"{' and '.join(plain(each.whom, most=60) for each in standing)} answer{'s' if len(standing) == 1 else ''} nothing"


def render(standing: Sequence[Standstill], stake: Stake, *, now: datetime) -> str:
    """The artifact's Markdown; `stake` is what waits for the real-time lane."""
    lines = [f"## {headline(standing)}", "", f"As of {clock(now, beside=now)}.", ""]
    if standing:
        lines += [
            "| Who | Answers nothing since | How bad | The last call met |",
            "|---|---|---:|---|",
        ]
        lines += [
            f"| {cell(each.whom)} | {clock(each.since, beside=now)} | {each.bad or counted(each.calls, 'call')} "
            f"| {cell(each.why, most=MOST_ERROR)} |"
            for each in standing
        ]
        lines += ["", f"{KEPT}."]
    waits = stake.in_words(lambda moment: clock(moment, beside=now))
    return "\n".join([*lines, "", f"On the real-time lane: {waits}.", "", LINKS])
