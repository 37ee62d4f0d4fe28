"""The folder: what transactions added to the figures, and to what budgets have spent, is moved into them."""

from datetime import datetime

from lanes.standing.duty import Duty
from lanes.store.database import Database
from lanes.store.figures import folding
from lanes.store.money import budgets

MOST_ROUNDS = (
    10  # of one turn: what is left is folded at the next tick, and readers add it meanwhile
)


class Folder:
    """Its absence makes figures and budgets slower to read, never wrong."""

    duty = Duty("figures")

    def __init__(self, db: Database) -> None:
        self._db = db

    async def turn(self, _: datetime) -> None:
        """Fold what waits, up to a bound; leave it where another transaction folds."""
        for fold, most in ((budgets.fold, budgets.MOST), (folding.fold, folding.MOST)):
            for _round in range(MOST_ROUNDS):
                if await self._db.run(fold) < most:
                    break
