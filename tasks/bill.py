"""The comparison of the provider's bill of the last complete days with the ledger."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE

from lanes.money.bill import BillDifference, compare
from lanes.provider import bill
from lanes.provider.errors import CallFailed
from lanes.store.money import bill as ledger
from tasks.connections import Connections

DAYS = 7  # late usage is looked for as long as an incident of its day may be open
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@task(name="compare the bill", cache_policy=NO_CACHE, persist_result=False)
async def compare_bill(at: Connections) -> list[str]:
    """Return a sentence for each row that differs, and keep the incidents; or why the bill cannot be read.

    Without an admin key nothing is compared.
    """
    if at.provider.admin_key is None:
        return []
    now = await at.db.now()
    until = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        found = await _differences(at, until - DAYS * DAY, until, DAY)
        if found:
            hours = await _differences(at, found[0].of.at, found[-1].of.at + DAY, HOUR)
            found = [await _with_requests(at, each, hours) for each in found]
    except CallFailed as failure:
        return [str(failure)]
    await at.db.run(ledger.record, found, now=now)
    told = [f"{each.of.at:%Y-%m-%d}: {each.sentence}" for each in found]
    return told or [f"the bill of {DAYS} days until {until:%Y-%m-%d} agrees with the ledger"]


async def _differences(
    at: Connections, since: datetime, until: datetime, width: timedelta
) -> list[BillDifference]:
    of = at.provider
    login = None if of.login is None else of.login.get_secret_value()
    assert of.admin_key is not None
    keys = of.admin_key.get_secret_value(), of.api_key.get_secret_value()
    billed = await bill.read(of.base_url, keys, login, since, until, width)
    return compare(await at.db.run(ledger.ledger, since, until, width), billed)


async def _with_requests(
    at: Connections, of: BillDifference, hours: list[BillDifference]
) -> BillDifference:
    """Return the difference of a day with the hours in which it arose, and the responses that may be missing."""
    day, *row = of.of
    within = [h.of.at for h in hours if [*h.of[1:]] == row and day <= h.of.at < day + DAY]
    named = [f"from {each:%H:%M}" for each in within]
    named += await at.db.run(ledger.examples, of, DAY)
    return replace(of, said=f"{of.said} ({', '.join(named)})") if named else of
