"""Helpers of the budget tests: set a budget, read its status, admit waiting items, and claim paid work."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from lanes.ids import BudgetId
from lanes.json_data import call_bytes
from lanes.money.budget import Budget, BudgetStatus, Period
from lanes.money.cost import upper_bound
from lanes.packing import ClaimedWork
from lanes.store.money import budgets
from lanes.store.realtime import paid_claims
from lanes.words import Lane
from lanes.workload.version import Version
from tests.conftest import NOON
from tests.examples import admit, route
from tests.store.tries import LEASE, rows

ZERO = Decimal(0)
PRICE = Decimal("0.00011")  # of a response by `said()`
ZONES = ("UTC", "Europe/Berlin", "America/Havana", "Asia/Kathmandu", "America/Sao_Paulo")


def put(
    connection: Connection,
    hard: str | None = "1",
    soft: str | None = None,
    *,
    consumer: str | None = None,
    period: Period = Period.DAY,
    zone: str = "UTC",
    now: datetime = NOON,
) -> BudgetId:
    limits = [None if each is None else Decimal(each) for each in (soft, hard)]
    budgets.put(
        connection,
        Budget("letters", consumer, period, zone, *limits),
        who="ada",
        why="test",
        now=now,
    )
    stored = rows(connection, "budget")
    return next(each.id for each in stored if (each.consumer, each.period) == (consumer, period))


def stands(connection: Connection, now: datetime = NOON) -> BudgetStatus:
    (only,) = budgets.statuses(connection, now=now)
    return only


def waits(connection: Connection, *keys: str, **fields: Any) -> None:
    admit(connection, *keys, now=NOON, lane=Lane.REALTIME, **fields)
    route(connection, now=NOON)


def take(
    connection: Connection,
    places: int = 9,
    *,
    workload: str = "letters",
    now: datetime = NOON,
    lease: timedelta = LEASE,
) -> list[ClaimedWork]:
    """Claim the work that the budgets can pay for."""
    return [
        *paid_claims.claim(connection, {workload: places}, worker="w", lease=lease, now=now).claimed
    ]


def bound(version: Version, text_: str = "letter a") -> Decimal:
    return upper_bound(version, call_bytes({"text": text_}), lane=Lane.REALTIME, at=NOON)
