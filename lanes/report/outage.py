"""An outage as a drain's run shows it in Prefect: the message of its state, and an artifact."""

from collections.abc import Sequence
from datetime import datetime

from lanes.promises.briefing import Stake
from lanes.realtime.health import Standstill
from lanes.report.links import INCIDENTS, REPORTS, linked
from lanes.report.table import Table, figure, in_markdown, label
from lanes.text import plain
from lanes.units import clock, counted

KEY = "lanes-outage"  # of the artifact's versions
MOST_ERROR = 300
MOST_ROWS = 50
KEPT = "Waiting items keep their rank and their retry budget, and are asked again automatically"
LINKS = (INCIDENTS, ("Real-time runs", "/v2/runs?tags=realtime"), REPORTS)


def message(standing: Sequence[Standstill], *, now: datetime) -> str:
    """Return the message of the run's state: what has not answered, since when, and the last error."""
    if not standing:
        return f"The provider answers again, since {clock(now, beside=now)}"
    parts = [
        f"{each.whom} has not answered since {clock(each.since, beside=now)}: {plain(each.why, most=MOST_ERROR)}"
        for each in standing
    ]
    return f"{'; '.join(parts)}. {KEPT}"


def headline(standing: Sequence[Standstill]) -> str:
    """Return the artifact's header."""
    if not standing:
        return "The provider answers again"
    verb = "does" if len(standing) == 1 else "do"
    return f"{' and '.join(plain(each.whom, most=60) for each in standing)} {verb} not answer"


def render(standing: Sequence[Standstill], stake: Stake, *, now: datetime) -> str:
    """Return the artifact's Markdown; `stake` is what waits for the real-time lane."""
    parts = [f"## {headline(standing)}", f"As of {clock(now, beside=now)}."]
    if standing:
        table = Table(
            "Not answering",
            standing,
            label("Model or account", lambda of: of.whom),
            label("Has not answered since", lambda of: clock(of.since, beside=now)),
            figure("Extent", "", lambda of: of.bad or counted(of.calls, "call")),
            label("Last error", lambda of: plain(of.why, most=MOST_ERROR)),
        )
        parts += [in_markdown(table, most=MOST_ROWS), f"{KEPT}."]
    waits = stake.in_words(lambda moment: clock(moment, beside=now))
    return "\n\n".join([*parts, f"On the real-time lane: {waits}.", linked(LINKS)])
