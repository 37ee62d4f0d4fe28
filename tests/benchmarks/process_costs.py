"""The memory and the processor time that a process uses."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil


def resident_mb(pid: int) -> float:
    """Return the process's resident memory now."""
    return psutil.Process(pid).memory_info().rss / 2**20


def cpu_s(pid: int) -> float:
    """Return the processor time of a process and all its descendants, including those that have ended."""
    seconds = 0.0
    root = psutil.Process(pid)
    for each in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            seconds += sum(each.cpu_times()[:4])
    return seconds


class Peak:
    """The peak resident memory of this process while it was watched, in MB above the start."""

    def __init__(self) -> None:
        self.growth_mb = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Sample the memory fifty times a second until the block ends."""
        me, over = psutil.Process(), threading.Event()
        before = me.memory_info().rss

        def look() -> None:
            while not over.wait(0.02):
                self.growth_mb = max(self.growth_mb, (me.memory_info().rss - before) / 2**20)

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
