"""Telling whether a pid still means the process that it meant when we wrote it down."""

from pathlib import Path

import psutil


def birth_mark(pid: int) -> str | None:
    """What no other process of this machine shares with that pid: when it began, in this boot; None when the
    process is gone or a zombie.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists():
            return f"{process.create_time():.2f}"
        ticks = stat.read_text().rpartition(")")[2].split()[19]
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (psutil.Error, OSError, IndexError):
        return None
    return f"{boot}:{ticks}"


def is_same(pid: int, mark: str) -> bool:
    """Whether the process that had this birth mark still runs under this pid."""
    return birth_mark(pid) == mark
