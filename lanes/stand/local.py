"""A stand's resources on this machine: private files, ports, locks, and the identity of its processes."""

import hmac
import json
import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from threading import Lock

import psutil
from filelock import FileLock, Timeout

POSTGRES = "postgres"
ENDPOINT = "endpoint"
SERVER = "prefect-server"
SUPERVISOR = "supervisor"
POOLS = {
    "realtime": "Flow runs that answer at once: drains, and what watches over them",
    "batch": "Flow runs that may take their time: submission, collection, replays, reports",
}
OLDEST_SERVER = 18  # of Postgres


KEY = "digest.key"
KEY_BYTES = 32
_making_key = Lock()  # steps of one `up` run in parallel; two runs of `up` never do


def write_private(file: Path, text: str) -> None:
    """Write the file atomically, readable only by its owner."""
    # mkstemp sets the mode to 0600
    descriptor, draft = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}.")
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
    Path(draft).replace(file)


def digest_of_secrets(home: Path, parts: Sequence[str]) -> str:
    """Return a digest that changes whenever a part changes: an HMAC with this home's key, which the first call creates."""
    text = "\0".join(parts).encode()
    return hmac.new(_key(home), text, lambda: blake2b(digest_size=16)).hexdigest()


def _key(home: Path) -> bytes:
    file = home / KEY
    with _making_key:
        try:
            kept = bytes.fromhex(file.read_text())
            if len(kept) == KEY_BYTES:
                return kept
        except (OSError, ValueError):
            pass
        home.mkdir(parents=True, exist_ok=True)
        made = secrets.token_bytes(KEY_BYTES)
        write_private(file, made.hex())
        return made


LOOPBACK = "127.0.0.1"


def is_free_port(port: int) -> bool:
    """Return whether a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def find_free_port() -> int:
    """Return a port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


def _read_port(file: Path) -> int | None:
    """Return the port in the file if it is still free."""
    try:
        port = int(file.read_text())
    except (OSError, ValueError):
        return None
    return port if is_free_port(port) else None


def choose_port(file: Path, *, fresh: bool = False) -> int:
    """Return the port of the last run if it is free and `fresh` is not set, else a new one; store it in the file."""
    port = None if fresh else _read_port(file)
    if port is None:
        port = find_free_port()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{port}\n")
    return port


def birth_mark(pid: int) -> str | None:
    """Return the boot and start time of a process, which distinguish it from others with its pid; None if it has ended."""
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
    """Return whether the process that had this birth mark still runs under this pid."""
    return birth_mark(pid) == mark


@contextmanager
def file_lock(path: Path, *, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock inside the block; call `on_wait` once if another process holds it first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if on_wait is not None:
            on_wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class Users:
    """The runs that use a stand, with a small file for each in `folder`; a run whose process died is not counted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def enter(self) -> None:
        """Count this process as a user of the stand."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._mine.write_text(json.dumps({"pid": os.getpid(), "mark": birth_mark(os.getpid())}))

    def leave(self) -> None:
        self._mine.unlink(missing_ok=True)

    def others(self) -> list[int]:
        """Return the pids of the other runs that use the stand, and remove the files of dead ones."""
        alive: list[int] = []
        for file in self.folder.glob("*.json"):
            try:
                parsed = json.loads(file.read_text())
                pid, mark = int(parsed["pid"]), str(parsed["mark"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if not is_same(pid, mark):
                file.unlink(missing_ok=True)
            elif pid != os.getpid():
                alive.append(pid)
        return alive

    @property
    def _mine(self) -> Path:
        return self.folder / f"{os.getpid()}.json"
