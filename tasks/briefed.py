"""Details of incidents beside their sentence, looked up when they are sent; a failure here never stops a message."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from prefect.logging import get_run_logger
from pydantic import ValidationError

from lanes.promises.briefing import Briefing
from lanes.promises.incident import Incident, IncidentState
from lanes.slack.wording import IncidentPages
from lanes.store import incidents
from lanes.store.database import Database
from lanes.store.promises import briefings
from tasks.pages import Finder
from tasks.runs import described


@dataclass(frozen=True)
class Briefed:
    """The details of an incident, and the pages that show more."""

    briefing: Briefing
    pages: IncidentPages
    explains: Sequence[Incident] = ()


class Briefer:
    """Looks up the details of one round's incidents."""

    def __init__(self, db: Database, finder: Finder) -> None:
        self._db, self._finder, self._spent_s = db, finder, 0.0

    async def brief(self, of: Incident) -> Briefed:
        """Return the details, which the incident keeps; for one that is over, those from while it was open."""
        began = time.monotonic()
        try:
            briefing = await self._briefing(of)
            pages = await self._finder.find(of, briefing, now=await self._db.now())
            return Briefed(briefing, pages, await self._db.run(incidents.explained_by, of.id))
        except Exception as error:
            said = "incident %d is told without its cause: %s"
            get_run_logger().warning(said, of.id, described(error))
            nothing = IncidentPages(no_artifact="nothing could be looked up")
            return Briefed(_kept(of) or _unknown(type(error).__name__), nothing)
        finally:
            self._spent_s += time.monotonic() - began

    async def _briefing(self, of: Incident) -> Briefing:
        kept = _kept(of)
        if kept is not None and kept.causes and of.state is IncidentState.RESOLVED:
            return kept
        if self._spent_s > self._finder.limits.round_s:
            return kept or _unknown("too many incidents at once")
        async with self._db.transaction() as run:
            found = await run(briefings.brief, of, now=run.now)
        if kept is not None and kept.causes and not found.causes:
            same = {"causes": kept.causes, "counted_over": kept.counted_over, "more": kept.more}
            found = found.model_copy(update=same)
        found = await self._finder.completed(of, found)
        await self._db.run(incidents.briefed, of.id, found.model_dump(mode="json"))
        return found


def _kept(of: Incident) -> Briefing | None:
    """Return the details kept so far; None too where another release wrote them and this one cannot read them."""
    try:
        return Briefing.model_validate(of.briefing) if of.briefing else None
    except ValidationError:
        return None


def _unknown(why: str) -> Briefing:
    said = f"it could not be looked up ({why})"
    unknown = f"not known: {said}"
    return Briefing(unexplained=said, unstaked=unknown, trend=unknown, unsampled=said, no_run=said)
