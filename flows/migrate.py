"""A rollout: traffic moves between the lanes, or to a new version, in steps that are measured, judged, approved or undone."""

import re
from pathlib import PurePath
from uuid import UUID

from prefect import State, flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import Field

from lanes.errors import ActionRefused
from lanes.rollouts.playbook import playbook_names
from lanes.workload.form import Form, UncheckedLine, offer_published
from tasks.approval import ask
from tasks.migrate import RolloutOrder, leading, name_run
from tasks.runs import REFUSALS, database, refuse

NUMBER = re.compile("[1-9][0-9]{0,8}")  # of a version


class Order(Form):
    """The rollout to start: the traffic to move, the playbook, and the person who starts it."""

    # The run itself checks the required fields and ends as refused. If Prefect rejected the parameters, the run would count
    # as failed, and an automation would replace it with a run without an order.
    workload: UncheckedLine | None = Field(
        default=None, title="Workload", json_schema_extra=offer_published()
    )
    """The workload whose traffic moves. Empty: nothing starts, and this run leads an open rollout that no run leads."""
    playbook: UncheckedLine = Field(
        default="batch-to-realtime",
        title="Playbook",
        json_schema_extra={"enum": [*playbook_names()]},
    )
    """A file of migrations/playbooks, without its extension."""
    file: UncheckedLine = Field(default="", title="Another playbook")
    """Path of your own playbook on the worker's machine, or block:NAME; it replaces the playbook above."""
    consumer: UncheckedLine = Field(default="", title="Consumer")
    """The consumer whose split moves. Empty: the split of the workload moves."""
    version: UncheckedLine = Field(default="", title="New version")
    """Number of the candidate version that gets the share, if the playbook moves traffic to a version."""
    who: UncheckedLine = Field(default="", title="Who")
    """Your name, at most 500 characters; required to start."""
    why: UncheckedLine = Field(default="", title="Why")
    """Your reason, at most 500 characters; required to start."""

    @property
    def what(self) -> str:
        """The text in the run's name until it leads a rollout."""
        by = PurePath(self.file).name or self.playbook
        return f"{self.workload} by {by}" if self.workload else "an open rollout without a run"

    def read_order(self) -> RolloutOrder | None:
        """Return the rollout to start, or None without a workload.

        Raises:
            ActionRefused: the order is not signed, its version is not a number, or the database cannot store its text.
        """
        if not self.workload:
            return None
        if self.version and not NUMBER.fullmatch(self.version):
            raise ActionRefused("version: write the number of the candidate, such as 5")
        return RolloutOrder(
            self.playbook,
            self.file,
            self.workload,
            self.consumer or None,
            self.who,
            self.why,
            int(self.version) if self.version else None,
        ).check()


@flow(name="migrate", flow_run_name="migrate {order.what}", persist_result=False)
async def migrate(order: Order = Order()) -> str | State[str]:  # noqa: B008
    """Lead the rollout until it ends or a person has to approve, and return its state.

    If the rollout cannot start, the run ends as refused with the reason.
    """
    run_id = UUID(flow_run.get_id())
    try:
        async with database() as db, leading(db, order.read_order(), run_id) as lead:
            if lead is None:
                return "there is no rollout for this run to lead"
            await name_run(run_id, lead.rollout)
            while await lead.moves():
                if lead.asks:
                    await lead.hear(await ask(lead.rollout, await lead.question(), lead.page))
                else:
                    await lead.wait()
            get_run_logger().info("%s", lead.headline())
            return lead.headline()
    except REFUSALS as reason:
        return refuse(reason)
