"""Reprocessing: a chosen version reads a workload's stream again, without changing the results that readers get."""

from prefect import State, flow
from prefect.logging import get_run_logger
from pydantic import Field

from lanes.report import replay as report
from lanes.rollouts.replays import Selection
from lanes.workload.form import FARTHEST, LARGEST, Form, Line, SignedLine, offer_published
from tasks.replay import ask_to_depart, begin_replay, read_stream, write_diff
from tasks.runs import REFUSALS, database, refuse


class ReplayRange(Form):
    """The workload, the range of its stream to read again, and the version that reads it."""

    workload: SignedLine = Field(title="Workload", json_schema_extra=offer_published())
    """The published workload to read again."""
    version: int | None = Field(default=None, ge=1, le=LARGEST, title="Version")
    """Number of the version that answers. Empty: the version in force."""
    from_position: int | None = Field(default=None, ge=1, le=FARTHEST, title="From position")
    """First position in the stream. Empty: its beginning."""
    to_position: int | None = Field(default=None, ge=1, le=FARTHEST, title="To position")
    """Last position in the stream. Empty: the newest item."""


class Reading(Selection, ReplayRange):
    """The items of a workload to read again, the version that reads them, and the person who starts the replay."""

    depart: bool = Field(default=False, title="Depart at once")
    """On: send the replay's batches now. Off: leave them for the off-peak window."""
    who: SignedLine = Field(default="operator", title="Who")
    """The person who starts the replay, 1 to 500 characters."""
    why: Line = Field(default="", title="Why")
    """The reason, stored with the replay for the people who decide about it, at most 500 characters."""

    @property
    def what(self) -> str:
        """The text in the run's name."""
        return (
            self.workload if self.version is None else f"{self.workload} by version {self.version}"
        )


@flow(name="replay", flow_run_name="replay {reading.what}", persist_result=False)
async def replay(reading: Reading) -> str | State[str]:
    """Give the items replay work, and write the artifact; a second run continues an interrupted one.

    If the range cannot be read again, the run ends as refused with the reason.
    """
    try:
        async with database() as db:
            generation = await begin_replay(
                db,
                reading.workload,
                version_no=reading.version,
                reads=(reading.from_position, reading.to_position),
                selection=Selection.from_form(reading),
                who=reading.who,
                why=reading.why,
            )
            result = await read_stream(db, generation)
            if reading.depart:
                await ask_to_depart(reading.workload)
            summary = report.headline(result, await write_diff(db, result))
    except REFUSALS as reason:
        return refuse(reason)
    get_run_logger().info("%s", summary)
    return summary
