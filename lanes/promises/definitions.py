"""What an operator saved of a workload can be published."""

from collections.abc import Sequence
from uuid import UUID

from lanes.promises.assessment import Assessment
from lanes.promises.incident import Promise
from lanes.words import Verdict


def invalid_workload(
    workload: str, problems: Sequence[str], *, block_id: UUID | None = None
) -> Assessment:
    """The breach that a workload's block cannot be published. Its author sees first what to correct, and where."""
    why = "; ".join(problems)
    said, faults = f'{why}. The block of workload "{workload}" cannot be published.', len(problems)
    return Assessment(
        Promise.WORKLOAD_INVALID,
        workload,
        Verdict.FAILED,
        faults,
        0,
        faults,
        said,
        why=why,
        block_id=block_id,
    )


def mended_workload(workload: str, why: str | None) -> str:
    """How that breach ended; `why` is what was wrong."""
    was = f"; it could not because of {why}" if why else ""
    return f'The block of workload "{workload}" can be published again{was}.'
