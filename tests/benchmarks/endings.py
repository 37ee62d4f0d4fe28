"""How a benchmark ends on a signal."""

import signal
import sys
from types import FrameType


def end_as_asked() -> None:
    """Make SIGTERM end this program as Ctrl-C does, together with everything that it started."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
