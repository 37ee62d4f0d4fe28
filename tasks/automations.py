"""The automations that no deployment owns, upserted by name from `automations.yaml`."""

from datetime import timedelta
from typing import Any

import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from lanes.stand.deploying import AUTOMATIONS, SILENT_RUNS
from tasks.notice import UNANSWERED
from tasks.runs import REFUSED

BROKEN = {"prefect.flow-run.Crashed", "prefect.flow-run.Failed"}
ENDED = {
    *BROKEN,
    *(f"prefect.flow-run.{name}" for name in ("Completed", "Cancelled", REFUSED, UNANSWERED)),
}
# waits for a person, without a process and so without a heartbeat
SUSPENDED = "prefect.flow-run.Suspended"
HEARTBEAT = "prefect.flow-run.heartbeat"
REST = timedelta(seconds=3)  # so that a run that cannot start does not spin
SILENT_AFTER = timedelta(seconds=100)  # runs send a heartbeat every 30 seconds (prefect.yaml)


async def write_automations(client: PrefectClient) -> None:
    """Write each automation of the file to Prefect once, as the file says."""
    declared = yaml.safe_load(AUTOMATIONS.read_text())
    for automation in [*[await _replacing(client, each) for each in declared], _silent_runs()]:
        await _upsert(client, automation)


async def _replacing(client: PrefectClient, declared: dict[str, Any]) -> AutomationCore:
    deployment = await client.read_deployment_by_name(declared["deployment"])
    replacement = {
        "deployment_id": deployment.id,
        "parameters": declared["parameters"],
        "schedule_after": REST,
    }
    return AutomationCore(
        name=declared["name"],
        description=declared["description"],
        trigger=EventTrigger(
            expect=BROKEN,
            match_related={  # pyright: ignore[reportArgumentType]
                "prefect.resource.role": "deployment",
                "prefect.resource.id": f"prefect.deployment.{deployment.id}",
            },
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[RunDeployment.model_validate(replacement)],
    )


def _silent_runs() -> AutomationCore:
    """Return the automation that marks a run without a heartbeat as crashed, so that it is replaced."""
    crashed = {"state": StateType.CRASHED, "message": "no heartbeat for 100 seconds"}
    return AutomationCore(
        name=SILENT_RUNS,
        description="A run without a heartbeat for 100 seconds is marked crashed",
        trigger=EventTrigger(
            match={"prefect.resource.id": "prefect.flow-run.*"},  # pyright: ignore[reportArgumentType]
            match_related={  # pyright: ignore[reportArgumentType]
                "prefect.resource.role": "tag",
                "prefect.resource.id": "prefect.tag.lanes",
            },
            for_each={"prefect.resource.id"},
            after={HEARTBEAT},
            expect={HEARTBEAT, SUSPENDED, *ENDED},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENT_AFTER,
        ),
        actions=[ChangeFlowRunState.model_validate(crashed)],
    )


async def _upsert(client: PrefectClient, wanted: AutomationCore) -> None:
    have = await client.read_automations_by_name(wanted.name)
    if not have:
        await client.create_automation(wanted)
        return
    first, *doubles = have
    present = AutomationCore.model_validate(first.model_dump(exclude={"id"}))
    if present.model_dump(mode="json") != wanted.model_dump(mode="json"):
        await client.update_automation(first.id, wanted)
    for double in doubles:
        await client.delete_automation(double.id)
