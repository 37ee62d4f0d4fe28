"""How long a run waits for a provider that is busy, before it leaves the rest to a later run."""

from dataclasses import dataclass

from lanes.backoff import Backoff

BACKOFF = Backoff.of_seconds(2, 30)


@dataclass
class Patience:
    """What is left of it, in seconds. Pauses double while the provider stays busy."""

    left_s: float = 60.0
    failures: int = 0

    def pause(self, *, retry_after_s: float | None, chance: float) -> float | None:
        """The seconds to wait before the next try, None when patience is at an end.

        At least as long as the provider says; `chance`, 0 to 1, spreads what waits together over half a pause more.
        """
        pause_s = BACKOFF.seconds_after(self.failures + 1)
        wanted = max(pause_s, retry_after_s or 0.0) * (1 + chance / 2)
        if wanted > self.left_s:
            return None
        self.left_s -= wanted
        self.failures += 1
        return wanted

    def answered(self) -> None:
        """The provider took something: the next pause is a short one again."""
        self.failures = 0
