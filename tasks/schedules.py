"""The off-peak schedules of `depart`: one per workload, written from its version in force."""

from collections.abc import Collection, Mapping

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule

from lanes.standing import runs
from lanes.standing.runs import departing_workload
from lanes.workload.version import Version


async def write_schedules(
    client: PrefectClient,
    submit: DeploymentResponse,
    versions: Mapping[str, Version],
    *,
    keep: Collection[str] = (),
) -> bool:
    """`depart` runs in each workload's off-peak window; whether it did not. Nothing is written where its schedules say so.

    Those of workloads to `keep`, and those that a person added, stay as they are.
    """
    wanted = {slug_of(version): _schedule(version) for version in versions.values()}
    present = {schedule.slug: schedule for schedule in submit.schedules}
    missing = [schedule for slug, schedule in wanted.items() if slug not in present]
    if missing:  # first, so that a changed window never leaves none
        await client.create_deployment_schedules(submit.id, missing)
    over = [
        schedule
        for slug, schedule in present.items()
        if slug not in wanted and (of := _written_for(schedule)) is not None and of not in keep
    ]
    for schedule in over:
        await client.delete_deployment_schedule(submit.id, schedule.id)
    return bool(missing or over)


def _written_for(schedule: DeploymentSchedule) -> str | None:
    """Return the workload of a schedule that was written here, None of one that a person added."""
    workload = departing_workload(schedule.parameters)
    return workload if workload and (schedule.slug or "").startswith(f"{workload}-") else None


def slug_of(version: Version) -> str:
    """Names the workload and its window, so that a changed window is a changed schedule."""
    window = version.spec.window
    ends = f"{window.start:%H%M}-{window.end:%H%M}-{window.zone.key}"
    return f"{version.workload}-{ends}".lower().replace("/", "-").replace("_", "-")


def _schedule(version: Version) -> DeploymentScheduleCreate:
    window = version.spec.window
    return DeploymentScheduleCreate(
        schedule=CronSchedule(cron=window.cron(), timezone=window.zone.key),
        active=True,
        slug=slug_of(version),
        parameters=dict(runs.depart(version.workload).parameters),
    )
