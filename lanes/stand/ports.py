"""Ports on 127.0.0.1 that a stand keeps from one run to the next."""

import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def any_free() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


def kept(file: Path) -> int | None:
    """The port the file remembers, when it is still free."""
    try:
        port = int(file.read_text())
    except (OSError, ValueError):
        return None
    return port if is_free(port) else None


def choose(file: Path, *, fresh: bool = False) -> int:
    """The port of the last run when it is free (and `fresh` is not asked for), else a new one; remembered."""
    port = None if fresh else kept(file)
    if port is None:
        port = any_free()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{port}\n")
    return port
