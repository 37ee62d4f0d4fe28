"""Errors of the database driver as errors of Lanes, so that users of the client need not know the driver."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InvalidRequestError, ResourceClosedError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from lanes import errors
from lanes.store.locks import DEADLOCK

# classes: connection, resources, operator's intervention (restart, time limit), system
AWAY = ("08", "53", "57", "58")
NO_SCHEMA = ("3F000", "42P01", "42703", "42883")  # no such schema, table, column, function


@contextmanager
def typed() -> Iterator[None]:
    """Raise database errors within the block as errors of Lanes, caused by the driver's."""
    try:
        yield
    except SQLAlchemyError as error:
        told = tell(error)
        if told is None:
            raise
        raise told from error


def tell(error: Exception) -> errors.LanesError | None:
    """Return the error of Lanes for a driver's error; None where the fault is ours."""
    match error:
        case NoConnectionFree():
            return errors.DatabaseAway(
                "every connection of this handle is busy; let it open more, or ask for less at once"
            )
        case DBAPIError():
            return _told_by_the_driver(error)
        case ResourceClosedError() | InvalidRequestError():
            return errors.TransactionUnfit(
                "the connection that this handle was given cannot be used as it is (closed, or its transaction has ended): "
                "begin another transaction, and give the handle that one"
            )
    return None


def _told_by_the_driver(error: DBAPIError) -> errors.LanesError | None:
    state, kind = getattr(error.orig, "sqlstate", None), type(error.orig).__name__
    said = next(iter(str(error.orig).strip().splitlines()), kind)
    away = errors.DatabaseAway(f"the database does not answer: {said}")
    match state:
        case None:
            is_away = kind in ("OperationalError", "InterfaceError")
            return away if error.connection_invalidated or is_away else None
        case "40P01":
            return errors.Deadlocked(DEADLOCK)
        case "55P03":
            return errors.StillLocked("another transaction holds what this one needs; try again")
        case "40001":
            return errors.StillLocked(
                "another transaction changed it meanwhile: begin yours again (READ COMMITTED has no need to)"
            )
        case "25P02":
            return errors.TransactionUnfit(
                "the transaction that this handle joined has failed already: roll it back, and begin again"
            )
        case "25006":
            return errors.SetupError(
                "the database only reads, as a standby does: give the address of the one that writes"
            )
        case "42501":
            return errors.SetupError(f"the user of this address may not do that: {said}")
        case _ if state in NO_SCHEMA:
            return errors.SetupError(
                f"the schema of Lanes is not there, or not this version's: {said}; `lanes up` brings it up to date"
            )
        case _ if state.startswith(AWAY):
            return away
        case _ if state.startswith("28") or state == "3D000":
            return errors.SetupError(f"the database accepts no connection at this address: {said}")
    return None
