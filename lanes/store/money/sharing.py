"""How calls share at present: read from the database once in a while, and kept for whoever asks in between."""

from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from lanes.money.cost import Estimates
from lanes.money.pack_size import PackSizes
from lanes.money.sharing import Sharing
from lanes.store import asking
from lanes.store.money import caching, pack_sizes

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

KEPT_FOR = timedelta(seconds=30)

_kept: "WeakKeyDictionary[Engine, tuple[datetime, Sharing]]" = WeakKeyDictionary()
_lock = Lock()


def estimates(connection: "Connection", *, now: datetime) -> Estimates:
    """What items cost at the prices of that day, as calls share at present."""
    return Estimates(now, known(connection, now=now))


def known(connection: "Connection", *, now: datetime) -> Sharing:
    """How they share, at most half a minute old; the database is only asked where this program knows nothing so new."""
    with _lock:
        kept = _kept.get(connection.engine)
    if kept is not None and kept[0] <= now < kept[0] + KEPT_FOR:
        return kept[1]
    ask = asking.through(connection)
    found = Sharing(PackSizes(pack_sizes.decided(ask)), caching.hit_rates(ask))
    with _lock:
        _kept[connection.engine] = now, found
    return found


def forget(engine: "Engine") -> None:
    """The next who asks reads the database: for those who undo what they wrote, or lead the engine elsewhere."""
    with _lock:
        _kept.pop(engine, None)
