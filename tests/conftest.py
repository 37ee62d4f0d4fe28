"""Fixtures for every test: a real Postgres, and a fresh database of the newest schema for each test."""

import gc
import os
import shutil
import signal
import tempfile
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Connection, Engine, create_engine, text
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from lanes.stand.postgres import EmbeddedPostgres, Running
from lanes.store import schema
from lanes.store.database import Database
from lanes.store.figures import arrivals
from lanes.store.money import sharing
from lanes.store.routing import mix, turnarounds
from tests.databases import OWNER_MAY, Databases, Recycled, Reused, Roaming
from tests.hosts import shield
from tests.passing_time import PassingTime
from tests.prefect_standin import PrefectStandIn
from tests.rewriting import rewrite_share
from tests.running_stand import RunningStand, put_up, take_down
from tests.slack_standin import SlackStandIn

if TYPE_CHECKING:
    from tests.browser import Browser

# Tests use no TLS. Loading the usual hundred authorities takes each HTTP client 6 ms, loading this one takes 0.3 ms.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("authority.pem"))

# A call to Prefect without the test's own server fails, instead of starting a whole server that outlives the test.
os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"

# `make test` tries few examples of each property; `make test-all` repeats all properties with many.
UNHURRIED = [
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
    HealthCheck.large_base_example,
    HealthCheck.function_scoped_fixture,
]
settings.register_profile("quick", max_examples=12, deadline=None, suppress_health_check=UNHURRIED)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=80)
settings.load_profile("quick")

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ROOM_BYTES = 4 * 1024**3  # for the databases of a session and the server's log
SHARED_STAND = "the tests of the shared stand"
# The units with whole stands in the order in which they start: the longest first.
STANDS = (
    SHARED_STAND,
    "tests/chaos/test_two_hosts.py",
    "tests/chaos/test_three_clicks.py",
    "tests/chaos/test_outage.py",
    "tests/chaos/test_kills.py",
    "tests/chaos/test_upgrade.py",
    "tests/e2e/test_sample_run.py",
    "tests/chaos/test_poolers.py",
    "tests/deployments/test_hosts.py",
    "tests/chaos/test_restore.py",
    "tests/e2e/test_own_prefect.py",
    "tests/e2e/test_restart.py",
)
STANDS_AT_A_TIME = 2
SET_UP_ONCE = {
    "tests/store/test_plans.py",
    "tests/store/report/test_recount.py",
    "tests/store/current/test_roles.py",
    "tests/store/promises/test_taken_roles.py",
    "tests/store/client/test_installed.py",
    "tests/provider/test_bounds.py",
    "tests/flows/test_prefect_server.py",
}
ENDING = pytest.StashKey["Ending"]()  # for the shared stand


def unit_of(nodeid: str) -> str:
    """Return the name of the unit of a test; the tests of a unit run in one process, one after the other.

    Tests that share a stand form a unit, and so do the tests of a file with an expensive set-up.
    """
    file = nodeid.partition("::")[0]
    match PurePath(file).parts[1]:
        case "deployments" | "e2e" if file not in STANDS:
            return SHARED_STAND
        case "deployments" | "e2e" | "chaos" | "stand" | "anthropic-standin":
            return file
        case _:
            return file if file in SET_UP_ONCE else nodeid


class Together(LoadScopeScheduling):
    """A scheduler that distributes tests one by one, but keeps the tests of a unit together.

    xdist's own groups are written into `_nodeid`, which this version of pytest does not read.
    """

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Assign the next unit, but none with a stand while enough other processes have one, because stands slow each other."""
        busy = [self.has_stand(each) for each in self.nodes if each is not node]
        if sum(busy) >= STANDS_AT_A_TIME:
            without = next((unit for unit in self.workqueue if unit not in STANDS), None)
            if without is None:
                return node.shutdown()
            self.workqueue.move_to_end(without, last=False)
        return super()._assign_work_unit(node)

    def has_stand(self, node: WorkerController) -> bool:
        """Return whether a process has an unfinished unit with a stand."""
        units = self.assigned_work.get(node, {}).items()
        return any(unit in STANDS and not all(tests.values()) for unit, tests in units)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Distribute the tests to processes by units, in the order of collection."""
    config.option.loadscopereorder = False
    return Together(config, log)


# Garbage collection takes a tenth of the time in which hundreds of modules are imported.
gc.disable()


def pytest_configure(config: pytest.Config) -> None:
    """Divide the rewriting of test files among the processes, and install our handler of SIGINT.

    With a handler of ours, asyncio installs none for each test, for which the `signal` module would format the whole test.
    """
    signal.signal(signal.SIGINT, interrupt)
    rewrite_share(config)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, as Python's own handler does."""
    signal.default_int_handler(number, frame)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip the folders that contain slow tests only, unless slow tests are requested."""
    slow = collection_path in {Path(__file__).with_name(each) for each in ("chaos", "deployments")}
    return True if slow and config.option.markexpr == "not slow" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Mark cases that repeat a whole lane as slow, and sort the tests so that the longest units start first."""
    for each in repetitions(items):
        each.add_marker("slow")
    yield
    items.sort(key=turn)


def repetitions(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield all but the first case of tests with long cases: tests marked `long_cases`, and tests of flows on a database.

    A test that marks its own slow cases is left unchanged. The unit tests check the consequence of each case of a flow, without
    a database.
    """
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for each in items:
        of_flows = each.nodeid.startswith("tests/flows/") and "db" in getattr(
            each, "fixturenames", ()
        )
        if each.nodeid.endswith("]") and (of_flows or each.get_closest_marker("long_cases")):
            cases[each.nodeid.partition("[")[0]].append(each)
    for of_one in cases.values():
        if not any(each.get_closest_marker("slow") for each in of_one):
            yield from of_one[1:]


def pytest_collection_finish() -> None:
    """Exclude all imported objects from garbage collection, which took a tenth of the tests' time."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the stand's troubles to the report of a test that fails in a whole stand."""
    report = yield
    running = getattr(item, "funcargs", {}).get("stand")
    if report.failed and isinstance(running, RunningStand):
        report.sections.append(("the stand", running.trouble()))
    return report


def turn(item: pytest.Item) -> tuple[int, bool]:
    """Return the sort key of a test: units with stands come first, the longest first, then other units, then single tests."""
    unit = unit_of(item.nodeid)
    return STANDS.index(unit) if unit in STANDS else len(STANDS), unit == item.nodeid


class Ending:
    """The end of a stand: it is taken down once, in a thread."""

    def __init__(self, stand: RunningStand) -> None:
        self._stand = stand
        self._thread = ThreadPoolExecutor(1)
        self._end: Future[None] | None = None

    def begin(self) -> Future[None]:
        """Begin to take the stand down."""
        self._end = self._end or self._thread.submit(take_down, self._stand)
        return self._end


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Take the shared stand down after its last test, during the next test, because its own work slows all others."""
    is_last = nextitem is not None and unit_of(nextitem.nodeid) != SHARED_STAND
    if is_last and ENDING in item.config.stash:
        item.config.stash[ENDING].begin()


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """Return a temporary folder that Postgres, which never runs as root, can enter during the whole session.

    Pytest's own folder does not serve: every new session removes the access of other users.
    """
    with tempfile.TemporaryDirectory(
        prefix="lanes-tests-", dir=in_memory(), ignore_cleanup_errors=True
    ) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Running]:
    """Run a server for the test session, with the template `lanes` at the newest schema."""
    with tempfile.TemporaryDirectory(
        prefix="lanes-tests-", dir=in_memory(), ignore_cleanup_errors=True
    ) as name:
        Path(name).chmod(0o755)
        server = EmbeddedPostgres(Path(name) / "postgres")
        running = server.start()
        try:
            schema.upgrade(running.url("lanes"))
            _in_haste(running)
            yield running
        finally:
            server.stop()


def in_memory() -> str | None:
    """Return a temporary folder in memory if one has room: there a fresh database takes a tenth of the time."""
    folder = Path("/dev/shm")
    usable = (
        folder.is_dir()
        and os.access(folder, os.W_OK)
        and shutil.disk_usage(folder).free > ROOM_BYTES
    )
    return str(folder) if usable else None


def _in_haste(running: Running) -> None:
    """Make databases five times as fast, at the cost of durability after a power cut.

    Autovacuum is off: databases are dropped before it helps, and plans must not change during a test.
    """
    admin = create_engine(running.url("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        off = [
            f"alter system set {each} = off"
            for each in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum")
        ]
        for each in (*off, *OWNER_MAY, "select pg_reload_conf()"):
            connection.execute(text(each))
    admin.dispose()


@pytest.fixture(scope="session")
def databases(postgres: Running) -> Iterator[Databases]:
    """Return the source of the tests' databases."""
    opened = Databases(postgres)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def roaming() -> Roaming:
    """Return the engines that all tests share."""
    return Roaming()


@pytest.fixture(scope="session")
def recycled(databases: Databases, roaming: Roaming) -> Iterator[Recycled]:
    """Return the database that tests with commits use one after the other."""
    opened = Recycled(databases, roaming)
    yield opened
    opened.close()


@pytest.fixture
def database_url(recycled: Recycled) -> Iterator[str]:
    """Return the address of a database in a fresh state, whose sessions have cached plans."""
    yield recycled.begin()
    recycled.end()


@pytest.fixture
def own_database_url(databases: Databases, roaming: Roaming) -> Iterator[str]:
    """Return the address of a database that no other test uses."""
    roaming.leave()
    url = databases.make()
    yield url
    roaming.leave()
    databases.drop(url)


@pytest.fixture
def pool(database_url: str, roaming: Roaming) -> Engine:
    """Open connections to a fresh database."""
    return roaming.engine(database_url)


@pytest.fixture
def passing_time() -> PassingTime:
    """Return the clock of the test."""
    return PassingTime()


@pytest.fixture
def db(database_url: str, roaming: Roaming, passing_time: PassingTime) -> Database:
    """Open a fresh database for asynchronous callers; the next test reuses its connections."""
    engine = roaming.async_engine(database_url)
    sharing.KEPT.forget(engine.sync_engine)
    mix.forget(engine.sync_engine)
    opened = Database(database_url, engine=engine, clock=passing_time.of_database)
    assert isinstance(opened.sessions, set)
    opened.sessions.update(roaming.async_sessions())
    return opened


@pytest.fixture(scope="session")
def reused(databases: Databases) -> Iterator[Reused]:
    """Return the database that tests without commits share."""
    opened = Reused(databases)
    yield opened
    opened.close()


@pytest.fixture
def connection(request: pytest.FixtureRequest, reused: Reused) -> Iterator[Connection]:
    """Open a transaction that is never committed, on a fresh database or on the test's own if the test requests that too."""
    own = {"pool", "database_url"} & set(request.fixturenames)
    with request.getfixturevalue("pool").connect() if own else reused.connection() as opened:
        # Caches of this engine hold rows that the last test never committed.
        turnarounds.KEPT.forget(opened.engine)
        sharing.KEPT.forget(opened.engine)
        arrivals.forget(opened.engine)
        mix.forget(opened.engine)
        yield opened


@pytest.fixture
def address(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of a fresh database; the environment names it and a home without a stand."""
    monkeypatch.setenv("LANES_DATABASE_URL", database_url)
    monkeypatch.setenv("LANES_HOME", str(tmp_path / "home"))
    return database_url


@pytest.fixture
def prefect() -> Iterator[PrefectStandIn]:
    """Run a Prefect stand-in for this test only."""
    running = PrefectStandIn()
    yield running
    running.stop()


def later(**how_much: float) -> datetime:
    """Return a time after noon."""
    return NOON + timedelta(**how_much)


def _serving_slack() -> Iterator[SlackStandIn]:
    """Run the Slack stand-in that a stand sends incidents to."""
    running = SlackStandIn()
    yield running
    running.stop()


slack = pytest.fixture(scope="session", name="slack")(_serving_slack)
messages = pytest.fixture(scope="module", name="messages")(_serving_slack)


@pytest.fixture(scope="session")
def stand(
    open_folder: Path, slack: SlackStandIn, pytestconfig: pytest.Config
) -> Iterator[RunningStand]:
    """Start a whole stand, which all tests that need Prefect's server, its workers and the endpoint share."""
    running = put_up(open_folder / "stand", **slack.environment())
    ending = pytestconfig.stash[ENDING] = Ending(running)
    yield running
    ending.begin().result()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Browser"]:
    """Open a headless browser, or skip the test if the machine has none."""
    # Loading this module takes as long as many tests.
    from tests.browser import LACKING, Browser, program

    if (found := program()) is None:
        pytest.skip(LACKING)
    with (
        ExitStack() as opened,
        Browser(shield(opened, found, tmp_path_factory.mktemp("browser"))) as started,
    ):
        yield started


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Return the folder that holds prefect.yaml."""
    return Path(__file__).resolve().parents[1]
