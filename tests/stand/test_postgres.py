"""The embedded server: created once, shared by all processes, and durable."""

import os
import pwd
import signal
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path

import psycopg
import pytest

from lanes.errors import StandError
from lanes.stand import postgres
from lanes.stand.info import OWNERS
from lanes.stand.local import birth_mark
from lanes.stand.postgres import EmbeddedPostgres
from lanes.store import schema

IS_ROOT = os.geteuid() == 0
START = "import sys; from pathlib import Path; from lanes.stand.postgres import EmbeddedPostgres\n"
PRINT = (
    START + "r = EmbeddedPostgres(Path(sys.argv[1])).start(); print(r.pid, r.port, flush=True)\n"
)


def write_row(url: str, value: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        connection.execute("INSERT INTO kept VALUES (%s)", [value])


def rows(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT value FROM kept ORDER BY value")]


@pytest.mark.slow
def test_the_first_start_makes_a_durable_server_with_both_databases(home: Path) -> None:
    running = EmbeddedPostgres(home / "postgres").start()
    with psycopg.connect(running.url("prefect", None)) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert connection.execute("SHOW max_connections").fetchone() == ("200",)
    with psycopg.connect(running.url("lanes", None)) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("lanes",)


@pytest.mark.slow
def test_the_secret_is_readable_by_its_owner_only_and_not_shown(home: Path) -> None:
    running = EmbeddedPostgres(home / "postgres").start()
    secret = home / "postgres.secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_text() not in repr(running)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(running.url("postgres", None).replace(secret.read_text(), "wrong"))


@pytest.mark.slow
def test_each_database_has_its_own_owner_that_is_not_a_superuser(home: Path) -> None:
    running = EmbeddedPostgres(home / "postgres").start()
    for name, role, other in (("lanes", "lanes_stand", "prefect"), ("prefect", "prefect", "lanes")):
        assert (home / "postgres.secret").read_text().strip() not in running.url(name)
        with psycopg.connect(running.url(name, None)) as connection:
            asked = "SELECT current_user, rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
            assert connection.execute(asked).fetchone() == (role, False, False, False)
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(running.url(other, None, role=role))


@pytest.mark.slow
def test_objects_that_an_earlier_version_made_as_superuser_pass_to_the_owner(home: Path) -> None:
    server = EmbeddedPostgres(home / "postgres")
    running = server.start()
    schema.upgrade(running.url("lanes"))
    for name, role in OWNERS.items():
        with psycopg.connect(
            running.url(name, None, role="postgres"), autocommit=True
        ) as superuser:
            superuser.execute("CREATE EXTENSION pg_trgm")
            superuser.execute("CREATE TYPE public.mood AS ENUM ('good')")
            superuser.execute(
                "CREATE TABLE public.kept (value int GENERATED ALWAYS AS IDENTITY, mood public.mood)"
            )
            superuser.execute(f"REASSIGN OWNED BY {role} TO postgres".encode())
    with psycopg.connect(running.url("postgres", None), autocommit=True) as superuser:
        superuser.execute("REVOKE pg_read_all_stats FROM lanes_stand, prefect")
        superuser.execute("DROP ROLE lanes_stand")
        superuser.execute("DROP ROLE prefect")

    running = server.start()
    for name in ("lanes", "prefect"):
        with psycopg.connect(running.url(name, None)) as connection:
            connection.execute("INSERT INTO public.kept (mood) VALUES ('good')")
            connection.execute("ALTER TABLE public.kept ADD COLUMN more int")
            connection.execute("ALTER TYPE public.mood ADD VALUE 'bad'")
    schema.upgrade(running.url("lanes"))
    with psycopg.connect(running.url("lanes", None)) as connection:
        connection.execute("CREATE OR REPLACE VIEW lanes.mine AS SELECT * FROM lanes.item_status")
        left = "SELECT relname FROM pg_class WHERE relnamespace = 'lanes'::regnamespace AND relowner <> 'lanes_stand'::regrole"
        assert connection.execute(left).fetchall() == []
        left = "SELECT proname FROM pg_proc WHERE pronamespace = 'lanes'::regnamespace AND proowner <> 'lanes_stand'::regrole"
        assert connection.execute(left).fetchall() == []


@pytest.mark.slow
def test_a_second_start_attaches_to_the_running_server(home: Path) -> None:
    first = EmbeddedPostgres(home / "postgres").start()
    assert EmbeddedPostgres(home / "postgres").start() == first


@pytest.mark.slow
def test_a_restart_keeps_the_port_and_the_rows(home: Path) -> None:
    server = EmbeddedPostgres(home / "postgres")
    first = server.start()
    write_row(first.url("lanes", None), 1)
    server.stop()
    assert server.running() is None
    second = server.start()
    assert second.port == first.port
    assert rows(second.url("lanes", None)) == [1]


@pytest.mark.slow
def test_several_concurrent_starts_result_in_one_server(home: Path) -> None:
    command = [sys.executable, "-c", PRINT, str(home / "postgres")]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = {starter.communicate(timeout=60)[0] for starter in starters}
    assert [starter.returncode for starter in starters] == [0] * 4
    assert len(answers) == 1


@pytest.mark.slow
def test_the_server_outlives_a_starter_that_is_killed(home: Path) -> None:
    script = PRINT + "sys.stdin.read()\n"
    command = [sys.executable, "-c", script, str(home / "postgres")]
    starter = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    pid = int(starter.stdout.readline().split()[0])
    starter.kill()
    starter.communicate(timeout=10)
    running = EmbeddedPostgres(home / "postgres").running()
    assert running is not None
    assert running.pid == pid


@pytest.mark.slow
def test_a_killed_server_restarts_with_every_committed_row(home: Path) -> None:
    server = EmbeddedPostgres(home / "postgres")
    first = server.start()
    for value in range(20):
        write_row(first.url("lanes", None), value)
    os.kill(first.pid, signal.SIGKILL)
    second = server.start()
    assert second.pid != first.pid
    assert rows(second.url("lanes", None)) == list(range(20))


@pytest.mark.slow
def test_a_lock_file_whose_pid_now_belongs_to_another_program_does_not_block_the_start(
    home: Path,
) -> None:
    server = EmbeddedPostgres(home / "postgres")
    server.start()
    server.stop()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        lock = home / "postgres" / "postmaster.pid"
        lock.write_text(f"{bystander.pid}\n{home}/postgres\n1\n1\n\n127.0.0.1\n\nready\n")
        assert server.start().pid != bystander.pid
        assert birth_mark(bystander.pid) is not None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.slow
def test_a_server_with_other_data_on_the_same_port_is_not_mistaken_for_ours(home: Path) -> None:
    ours = EmbeddedPostgres(home / "postgres")
    ours.start()
    ours.stop()
    others = EmbeddedPostgres(home / "others")
    running = others.start()
    try:
        (home / "postgres.secret").write_text((home / "others.secret").read_text())
        lock = home / "postgres" / "postmaster.pid"
        lock.write_text(
            f"{running.pid}\n{home}/postgres\n1\n{running.port}\n\n127.0.0.1\n\nready\n"
        )
        assert ours.running() is None
        lock.unlink()
    finally:
        others.stop()


def test_a_folder_with_other_files_is_refused_and_unchanged(home: Path) -> None:
    (home / "postgres").mkdir()
    (home / "postgres" / "diary.txt").write_text("mine")
    with pytest.raises(StandError, match="holds files but no Postgres data"):
        EmbeddedPostgres(home / "postgres").start()
    assert (home / "postgres" / "diary.txt").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.skipif(not IS_ROOT, reason="this user may not become another one")
def test_root_runs_the_server_as_another_user(home: Path) -> None:
    running = EmbeddedPostgres(home / "postgres").start()
    assert running.data.stat().st_uid != 0
    assert Path(f"/proc/{running.pid}").stat().st_uid == running.data.stat().st_uid


@pytest.mark.slow
@pytest.mark.skipif(
    not IS_ROOT, reason="this user is a normal one already: every other test here is this case"
)
def test_a_normal_user_runs_the_server_as_itself(home: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    python = reachable_python()
    if python is None or not postgres.is_reachable(Path(postgres.__file__)):
        pytest.skip("user nobody can enter neither this checkout nor a Python of this version")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    script = START + (
        "import os, psycopg\n"
        "server = EmbeddedPostgres(Path(sys.argv[1])); r = server.start()\n"
        "assert server.account is None and Path(sys.argv[1]).stat().st_uid == os.getuid() != 0\n"
        "psycopg.connect(r.url('lanes', None)).close(); server.stop(); print('well')\n"
    )
    paths = [str(Path(postgres.__file__).parents[2]), sysconfig.get_paths()["purelib"]]
    done = subprocess.run(
        [python, "-c", script, str(home / "postgres")],
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        env={"PYTHONPATH": ":".join(paths)},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.strip(), done.returncode) == ("well", 0), done.stderr


def reachable_python() -> str | None:
    """Return a Python of this version that every user may run: ours, or the system's."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}")
    return next(
        (c for c in candidates if Path(c).exists() and postgres.is_reachable(Path(c))), None
    )


@pytest.mark.slow
@pytest.mark.skipif(not IS_ROOT, reason="only root needs another user for the server")
def test_data_below_a_closed_folder_moves_to_a_stable_place_with_a_note(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "SYSTEM_HOME", home / "system")
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    first, second = (
        EmbeddedPostgres(closed / "checkout" / ".lanes" / "postgres") for _ in range(2)
    )
    assert first.data == second.data
    assert first.data.is_relative_to(home / "system")
    assert first.relocation_note is not None
    assert str(first.data) in first.relocation_note
    try:
        assert first.start().data == first.data
    finally:
        first.stop()


@pytest.mark.slow
@pytest.mark.skipif(not IS_ROOT, reason="only root copies the programs")
def test_programs_that_the_other_user_cannot_reach_are_copied_for_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "SYSTEM_HOME", home / "system")
    monkeypatch.setattr(postgres, "is_reachable", lambda _: False)
    account = postgres.server_account(home)
    assert account is not None
    copied = postgres.programs(account)
    assert copied.is_relative_to(home / "system")
    said = subprocess.run(
        [copied / "postgres", "--version"],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert "PostgreSQL" in said.stdout, said.stderr
