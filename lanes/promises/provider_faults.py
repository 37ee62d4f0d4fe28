"""The provider takes what is asked, and answers it. Broken by what a run met, kept again by what a later one meets."""

from collections.abc import Sequence
from uuid import UUID

from lanes.promises.assessment import Assessment
from lanes.promises.incident import EVERYBODY, Promise
from lanes.text import remove_quotes
from lanes.units import counted
from lanes.words import Verdict


def frozen(account: str, items: int, why: str, *, flow_run_id: UUID | None = None) -> Assessment:
    """Return the breach that the provider refuses the account until a person acts; it holds `items` back, on either lane."""
    said = f"Nothing is paid on either lane: {why}"
    return Assessment(
        Promise.PROVIDER_FROZEN,
        EVERYBODY,
        Verdict.FAILED,
        items,
        0,
        items,
        said,
        account,
        why=why,
        flow_run_id=flow_run_id,
    )


def unknown_model(
    workload: str, model: str, items: int, why: str, *, flow_run_id: UUID | None = None
) -> Assessment:
    """Return the breach that the account may not ask a model, or that there is none of that name; it holds `items` of the
    workload back."""
    said = f"Nothing is asked of {model}: {why}"
    return Assessment(
        Promise.PROVIDER_FROZEN,
        workload,
        Verdict.FAILED,
        items,
        0,
        items,
        said,
        of_model(model),
        why=why,
        flow_run_id=flow_run_id,
    )


def refused(
    account: str,
    workload: str,
    model: str,
    items: int,
    why: str,
    *,
    is_model: bool,
    flow_run_id: UUID | None = None,
) -> Assessment:
    """Return the breach of a refused batch, or of requests within one: of its model, or of the whole account."""
    if is_model:
        return unknown_model(workload, model, items, why, flow_run_id=flow_run_id)
    return frozen(account, items, why, flow_run_id=flow_run_id)


def of_model(model: str) -> str:
    """Return the subject of the incidents of a model."""
    return f"model {model}"


def refused_version(
    workload: str, number: int, calls: int, why: str, *, flow_run_id: UUID | None = None
) -> Assessment:
    """Return the breach that the provider refuses a version itself: `calls` different ones met `why`, and none was answered."""
    said = (
        f"The provider refuses version {number} itself: {counted(calls, 'different call')} met the same, and none was answered "
        f"since: {remove_quotes(why)}. Nothing of it is asked on either lane, and every item is kept with its retry budget. "
        "Publish a corrected version: all of them go on with it by themselves."
    )
    subject = f"version {number}"
    return Assessment(
        Promise.PROVIDER_FROZEN,
        workload,
        Verdict.FAILED,
        calls,
        0,
        calls,
        said,
        subject,
        why=why,
        flow_run_id=flow_run_id,
    )


def provider_down(
    account: str, models: Sequence[str], calls: int, why: str, *, flow_run_id: UUID | None = None
) -> Assessment:
    """The breach that these models of an account have answered none of the last `calls` calls."""
    said = (
        f"{' and '.join(models)} answered none of the last {counted(calls, 'real-time call')}: {why}. What asks them waits, "
        "keeps its rank and spends no retry budget."
    )
    return Assessment(
        Promise.PROVIDER_DOWN,
        EVERYBODY,
        Verdict.FAILED,
        calls,
        0,
        calls,
        said,
        account,
        why=why,
        flow_run_id=flow_run_id,
    )
