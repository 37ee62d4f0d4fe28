"""placeholder until the snapshot lands."""
from prefect import flow


@flow
async def report() -> None:
    """Nothing yet."""
