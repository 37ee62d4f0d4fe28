"""The resolver: a batch whose create brought no answer, and whose submitter is gone, is looked into."""

from datetime import datetime

from lanes.standing.duty import Duty
from lanes.store.signals import Role, RoleLock
from tasks.connections import Connections
from tasks.reconcile import reconcile_unresolved
from tasks.sweep.errands import Errands

PROVIDER_S = 60.0  # it asks for the provider's list page by page


class Resolver:
    """While a submitter is at work, it sees to such batches itself."""

    duty = Duty("batches without an answer")

    def __init__(self, at: Connections, errands: Errands) -> None:
        self._at, self._errands = at, errands

    async def turn(self, _: datetime) -> None:
        """The provider's list is being read for them."""
        self._errands.send("the provider's list of batches", self._reconcile, within_s=PROVIDER_S)

    async def _reconcile(self) -> None:
        async with RoleLock(self._at.db.url, Role.SUBMITTER) as role:
            if await role.try_take():
                await reconcile_unresolved(self._at)
