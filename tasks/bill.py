"""The comparison of the provider's bill of the last complete days with the ledger."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE

from lanes.money.bill import BillDifference, compare
from lanes.provider import bill
from lanes.provider.errors import CallFailed
from lanes.store.money import bill as ledger
from lanes.store.workload.accounts import last_change
from tasks.connections import Connections

DAYS = 7  # late usage is looked for as long as an incident of its day may be open
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@task(name="compare the bill", cache_policy=NO_CACHE, persist_result=False)
async def compare_bill(at: Connections) -> list[str]:
    """Return a sentence for each row that differs, and keep the incidents; or why a bill cannot be read.

    Each account is compared whose block has an admin key. Days on which a workload moved from one account to another, and
    those before, are not compared.
    """
    now, accounts = await at.db.now(), await at.each_account()
    compared = [each for each in accounts if each.provider.admin_key is not None]
    if not compared:
        return []
    until = _midnight(now)
    since = until - DAYS * DAY
    if (moved := await at.db.run(last_change)) is not None:
        since = max(since, _midnight(moved) + DAY)
    found, told = dict[str, list[BillDifference]](), list[str]()
    for each in compared if since < until else []:
        account = each.provider.account if len(accounts) > 1 else ""
        whose = account and f" of account {account}"
        try:
            found[account] = await _explained(each, since, until)
        except CallFailed as failure:
            told.append(f"{failure}{whose}")
            continue
        told += [f"{row.of.at:%Y-%m-%d}{whose}: {row.sentence}" for row in found[account]] or [
            f"the bill{whose} of {(until - since).days} days until {until:%Y-%m-%d} agrees with the ledger"
        ]
    complete = len(found) == len(compared)
    await at.db.run(ledger.record, found, complete=complete, now=now)
    return told


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


async def _explained(at: Connections, since: datetime, until: datetime) -> list[BillDifference]:
    """Return the days that differ, each with the hours in which it arose, and the responses that may be missing."""
    found = await _differences(at, since, until, DAY)
    if not found:
        return []
    hours = await _differences(at, found[0].of.at, found[-1].of.at + DAY, HOUR)
    return [await _with_requests(at, each, hours) for each in found]


async def _differences(
    at: Connections, since: datetime, until: datetime, width: timedelta
) -> list[BillDifference]:
    of = at.provider
    login = None if of.login is None else of.login.get_secret_value()
    assert of.admin_key is not None
    keys = of.admin_key.get_secret_value(), of.api_key.get_secret_value()
    billed = await bill.read(of.base_url, keys, login, since, until, width)
    known = await at.db.run(ledger.ledger, at.name, since, until, width)
    return compare(known, billed)


async def _with_requests(
    at: Connections, of: BillDifference, hours: list[BillDifference]
) -> BillDifference:
    day, *row = of.of
    within = [h.of.at for h in hours if [*h.of[1:]] == row and day <= h.of.at < day + DAY]
    named = [f"from {each:%H:%M}" for each in within]
    named += await at.db.run(ledger.examples, at.name, of, DAY)
    return replace(of, said=f"{of.said} ({', '.join(named)})") if named else of
