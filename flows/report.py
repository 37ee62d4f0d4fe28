"""The report: the activity of the lanes, and its cost compared with the alternatives."""

from datetime import datetime

from prefect import State, flow
from prefect.logging import get_run_logger
from pydantic import Field

from lanes.workload.form import Form
from tasks.report import begins, write_report
from tasks.runs import REFUSALS, database, refuse


class ReportPeriod(Form):
    """The period that the report covers."""

    since: datetime | None = Field(default=None, title="Since")
    """The report covers items received since this moment, which must be in the past. Empty: the last hours, as set below."""
    hours: int = Field(default=24, ge=1, le=720, title="Hours")
    """Length of the period if Since is empty, 1 to 720."""

    @property
    def what(self) -> str:
        """The period in the run's name."""
        if self.since is None:
            return f"{self.hours} h"
        return f"since {self.since.isoformat(' ', 'minutes')}"


@flow(name="report", flow_run_name="report, {period.what}", persist_result=False)
async def report(period: ReportPeriod = ReportPeriod()) -> str | State[str]:  # noqa: B008
    """Write the report of the period as artifacts `lanes-report` and `lanes-report-details`, and return its headline.

    A period in the future ends the run as refused.
    """
    try:
        async with database() as db:
            headline = await write_report(db, await begins(db, period.since, hours=period.hours))
    except REFUSALS as reason:
        return refuse(reason)
    get_run_logger().info("%s", headline)
    return headline
