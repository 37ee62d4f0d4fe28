"""The parsing and checking of Postgres addresses, with one-sentence explanations of what is wrong."""

from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from lanes.errors import StandError
from lanes.settings import Settings
from lanes.stand.kept import DATABASE, DIRECT
from lanes.stand.local import OLDEST_SERVER
from lanes.store.engines import discreet_engine, refuse_pooler
from lanes.text import HIDDEN, LIBPQ_SECRETS, mask_secrets

DRIVER = "postgresql+psycopg"
ACCEPTED = ("postgresql", "postgres", DRIVER)
WHICH = """
    select current_setting('server_version_num')::int / 10000, pg_postmaster_start_time(), current_database()
"""
EXAMPLE = "postgresql://user:password@host:5432/database"


def read_address(text_: str, called: str = DATABASE) -> URL:
    """Return the address with the driver that Lanes uses.

    Raises:
        StandError: the text is not the address of a Postgres database; the message names the address as `called`.
    """
    try:
        url = make_url(text_)
    except (ArgumentError, ValueError) as error:
        raise StandError(f"{called} is not an address of a database: write {EXAMPLE}") from error
    if url.drivername not in ACCEPTED:
        raise StandError(
            f"{called} asks for the driver {url.drivername}, but Lanes speaks to Postgres through psycopg: write {EXAMPLE}"
        )
    if not url.database:
        raise StandError(f"{called} names no database: write {EXAMPLE}")
    return url.set(drivername=DRIVER)


def format_address(url: URL) -> str:
    """Return the address without user and password, for people."""
    return f"{url.host or 'a local socket'}{f':{url.port}' if url.port else ''}/{url.database}"


def check_own(settings: Settings) -> tuple[URL, URL]:
    """Return the addresses of the user's database, for work and without a pooler, after checking that both answer.

    Raises:
        StandError: one does not answer, or the two lead to different databases.
        SetupError: the address for roles and migrations, which need a direct connection, leads to a pooler.
    """
    assert settings.database_url is not None
    url = read_address(settings.database_url.get_secret_value())
    if settings.direct_database_url is None:
        check_answers(url, direct=True)
        return url, url
    direct = read_address(settings.direct_database_url.get_secret_value(), DIRECT)
    if check_answers(url) != check_answers(direct, DIRECT, direct=True):
        raise StandError(
            f"LANES_DATABASE_URL ({format_address(url)}) and {DIRECT} ({format_address(direct)}) lead to two databases: "
            "set both to the same database, one through the pooler and one without it"
        )
    return url, direct


def check_answers(url: URL, called: str = DATABASE, *, direct: bool = False) -> tuple[object, ...]:
    """Check that the database answers and is new enough; return values that identify its server and its name.

    Raises:
        StandError: the database cannot be used, or is too old.
        SetupError: `direct` is set, but the connection goes through a pooler.
    """
    engine = discreet_engine(url)
    try:
        with engine.connect() as connection:
            version, *which = connection.execute(text(WHICH)).one()
            if direct:
                refuse_pooler(connection)
    except (DBAPIError, UnicodeError) as error:
        raise StandError(_explain(url, error, called)) from error
    finally:
        engine.dispose()
    if version < OLDEST_SERVER:
        raise StandError(
            f"the database at {format_address(url)} is Postgres {version}, and Lanes needs {OLDEST_SERVER} or newer: "
            "upgrade it, or unset LANES_DATABASE_URL to use the embedded one"
        )
    return tuple(which)


def _explain(url: URL, error: Exception, called: str) -> str:
    """Explain in a sentence which part of the address is wrong and what to do."""
    message = " ".join(str(error).split()).casefold()
    place = f"the database at {format_address(url)} ({called})"
    refusals = ("authentication failed", "no password supplied", "no pg_hba.conf entry")
    if any(each in message for each in refusals):
        return f"{place} refuses user {url.username or '(none)'}: correct the user or the password"
    if "does not exist" in message and "role" in message:
        return f"{place} knows no user {url.username}: correct the user or create that role"
    if "does not exist" in message:
        return f"{place} does not exist on that server: create it, or correct the name"
    if "resolve" in message or "name or service not known" in message or "nodename" in message:
        return f"the host of {place} has no address: correct the host name"
    if "timeout" in message:
        return f"{place} did not answer within 5 s: check the host, the port and the firewall"
    if "refused" in message or "no such file" in message or "unreachable" in message:
        return f"nothing answers for {place}: start that server, or correct host and port"
    if "too many" in message:
        return f"{place} has no connection left: raise its max_connections, or end other clients"
    first = str(getattr(error, "orig", error)).strip().splitlines()
    return f"{place} cannot be used: {_redact(first[0], url) if first else type(error).__name__}"


def _redact(message: str, url: URL) -> str:
    """Return the driver's message without the secrets of the address, which libpq quotes if it cannot parse them."""
    values = [url.password, *(url.query.get(name) for name in LIBPQ_SECRETS)]
    for secret in filter(None, values):
        message = message.replace(str(secret), HIDDEN)
    return mask_secrets(message)
