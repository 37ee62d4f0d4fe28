"""The folder: what transactions added to the figures is moved into them."""

from datetime import datetime

from lanes.standing.duty import Duty
from lanes.store.database import Database
from lanes.store.figures import folding

MOST_ROUNDS = 10  # of one turn: what is left is folded at the next tick, and readers add it meanwhile


class Folder:
    """Its absence makes figures slower to read, never wrong."""

    duty = Duty("figures")

    def __init__(self, db: Database) -> None:
        self._db = db

    async def turn(self, _: datetime) -> None:
        """Nothing waits to be folded, or somebody else folds, or there is much of it."""
        for _round in range(MOST_ROUNDS):
            if await self._db.run(folding.fold) < folding.MOST:
                return
