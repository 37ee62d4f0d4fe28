"""The off-peak schedules of `submit`: one per workload, written from its version in force."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule

from lanes.window import Window
from lanes.workload import Version

SUBMIT = "submit/submit"


async def write_schedules(client: PrefectClient, versions: Mapping[str, Version]) -> None:
    """`submit` runs in each workload's off-peak window; schedules that already say so are left alone."""
    deployment = await client.read_deployment_by_name(SUBMIT)
    wanted = {_slug(version): _schedule(version) for version in versions.values()}
    present = {schedule.slug: schedule.id for schedule in deployment.schedules}
    await _delete(client, deployment.id, (id_ for slug, id_ in present.items() if slug not in wanted))
    missing = [schedule for slug, schedule in wanted.items() if slug not in present]
    if missing:
        await client.create_deployment_schedules(deployment.id, missing)


async def _delete(client: PrefectClient, deployment_id: UUID, ids: Iterable[UUID]) -> None:
    for id_ in ids:
        await client.delete_deployment_schedule(deployment_id, id_)


def _slug(version: Version) -> str:
    """Names the workload and its window, so that a changed window is a changed schedule."""
    window = Window.of(version.spec)
    ends = f"{window.start:%H%M}-{window.end:%H%M}-{window.zone.key}"
    return f"{version.workload}-{ends}".lower().replace("/", "-").replace("_", "-")


def _schedule(version: Version) -> DeploymentScheduleCreate:
    window = Window.of(version.spec)
    return DeploymentScheduleCreate(
        schedule=CronSchedule(cron=window.cron(), timezone=window.zone.key),
        active=True,
        slug=_slug(version),
        parameters={"departure": {"workload": version.workload}},
    )
