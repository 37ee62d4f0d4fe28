"""What forbids a rollout to go forwards: critical incidents that are open where its traffic goes."""

from collections.abc import Iterable

from lanes.promises.incident import TERMS, Incident, IncidentState, Promise, Severity, lane_of
from lanes.words import Lane


def hindering(incidents: Iterable[Incident], receiving: Lane) -> list[Incident]:
    """Those of the incidents that hinder a rollout whose traffic goes to this lane: its own, and those of either lane."""
    return [
        each
        for each in incidents
        if _is_critical(each) and lane_of(each.promise) in (None, receiving)
    ]


def sentences(incidents: Iterable[Incident]) -> list[str]:
    """What is said of them where the rollout holds."""
    return [
        f"critical incident {each.id} is open: {TERMS[Promise(each.promise)].title}"
        for each in incidents
    ]


def _is_critical(of: Incident) -> bool:
    return of.state is IncidentState.OPEN and of.severity is Severity.CRITICAL
