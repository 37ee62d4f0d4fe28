"""The provider takes what is asked, and answers it. Broken by what a run met, kept again by what a later one meets."""

from collections.abc import Sequence
from uuid import UUID

from lanes.promises.assessment import Assessment
from lanes.promises.incident import EVERYBODY, Promise
from lanes.units import counted
from lanes.words import Lane, Verdict


def frozen(workload: str, lane: Lane, items: int, why: str, *, flow_run_id: UUID | None = None) -> Assessment:
    """The breach that the provider refuses a lane's calls until a person acts; it holds so many items back."""
    said, subject = f"Nothing is paid on the {lane} lane: {why}", f"{lane} lane"
    return Assessment(
        Promise.PROVIDER_FROZEN, workload, Verdict.FAILED, items, 0, items, said, subject, why=why, flow_run_id=flow_run_id
    )


def provider_down(account: str, models: Sequence[str], calls: int, why: str, *, flow_run_id: UUID | None = None) -> Assessment:
    """The breach that these models of an account have answered none of the last `calls` calls."""
    said = (
        f"{' and '.join(models)} answered none of the last {counted(calls, 'real-time call')}: {why}. What asks them waits, "
        "keeps its rank and spends no retry budget."
    )
    return Assessment(
        Promise.PROVIDER_DOWN, EVERYBODY, Verdict.FAILED, calls, 0, calls, said, account, why=why, flow_run_id=flow_run_id
    )
