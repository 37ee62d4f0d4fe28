"""Errors with a traceback that code writes to a run's logger while no run exists."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.logging import disable_run_logger

SILENT = "null"  # the logger that Prefect returns within `disable_run_logger`


class _Heard(logging.Logger):
    """A logger that replaces the one Prefect disables, and collects its tracebacks."""

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
    """Yield a list of the errors with a traceback that are logged within, each formatted as in a log."""
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
