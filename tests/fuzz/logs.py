"""What a program says in the logs of its runs while no run is there: kept where it is an error with a traceback."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.logging import disable_run_logger

SILENT = "null"  # the logger that Prefect gives out within `disable_run_logger`


class _Heard(logging.Logger):
    """Hears what is said to a logger that Prefect disables."""

    def __init__(self) -> None:
        super().__init__(SILENT)
        self.tracebacks: list[str] = []

    def isEnabledFor(self, level: int) -> bool:
        return level >= logging.ERROR

    def handle(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.tracebacks.append(logging.Formatter().format(record))


@contextmanager
def tracebacks() -> Iterator[list[str]]:
    """Yield the errors with a traceback that are logged within, each as its log would show it."""
    heard, loggers = _Heard(), logging.Logger.manager.loggerDict
    before = loggers.get(SILENT)
    loggers[SILENT] = heard
    try:
        with disable_run_logger():
            yield heard.tracebacks
    finally:
        if before is None:
            del loggers[SILENT]
        else:
            loggers[SILENT] = before
