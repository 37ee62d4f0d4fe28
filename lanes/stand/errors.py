"""What the stand raises: one sentence that says what happened, to what, and what to do."""

from pathlib import Path

from lanes.errors import SetupError


class StandError(SetupError):
    """A part of the stand could not do what was asked; `log` is the file whose end tells more."""

    def __init__(self, sentence: str, *, log: Path | None = None) -> None:
        super().__init__(sentence)
        self.log = log

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of the log, or nothing when there is none."""
        if self.log is None or not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
