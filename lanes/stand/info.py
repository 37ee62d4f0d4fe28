"""A running stand: its addresses, ports, pids and embedded parts, and the owners and roles of its Postgres databases."""

import hmac
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lanes.stand import login
from lanes.stand.kept import Said
from lanes.stand.local import LOOPBACK, write_private

SUPERUSER = "postgres"
# The owner of each database. Lanes' owner must not be named like its schema, which Postgres would then search first for names.
OWNERS = {"lanes": "lanes_stand", "prefect": "prefect"}
OF_SUPERUSER = ("postgres", "template1")


def owner_of(database: str) -> str:
    """Return the role that owns a database; a database that the user created belongs to the role of Lanes."""
    return SUPERUSER if database in OF_SUPERUSER else OWNERS.get(database, OWNERS["lanes"])


def password_of(role: str, secret: str) -> str:
    """Return a role's password; the superuser's is the server's secret, which no other password reveals."""
    if role == SUPERUSER:
        return secret
    return hmac.new(secret.encode(), role.encode(), "sha256").hexdigest()[:40]


def address(
    database: str, *, driver: str | None, port: int, secret: str, role: str | None = None
) -> str:
    """Return the address of a database for its owner, or for another role; `driver` None is libpq's form."""
    role = role or owner_of(database)
    scheme = f"postgresql+{driver}" if driver else "postgresql"
    return f"{scheme}://{role}:{password_of(role, secret)}@{LOOPBACK}:{port}/{database}"


FILE = "stand.json"
STAND_IN_KEY = "local-stand-in"
NO_PROXY = f"{LOOPBACK},localhost"
NOT_INHERITED = ("PYTHONDONTWRITEBYTECODE", "ANTHROPIC_AUTH_TOKEN")


@dataclass(frozen=True)
class PostgresInfo:
    """The embedded Postgres server. Its password is in a separate file next to the data directory."""

    data: Path
    pid: int
    port: int

    def url(self, database: str, driver: str = "psycopg", *, role: str | None = None) -> str:
        secret = self.data.with_name(f"{self.data.name}.secret").read_text().strip()
        return address(database, driver=driver, port=self.port, secret=secret, role=role)


@dataclass(frozen=True)
class ProcessInfo:
    """One process that the stand started."""

    name: str
    pid: int
    log: Path
    port: int | None = None


@dataclass(frozen=True)
class StandInfo:
    """The record that `up` wrote of a stand. It contains no secret.

    `embedded` names the parts that the stand provides itself, out of "database", "prefect" and "provider"; the other parts are
    the user's own. `transient` names the components that a run started for itself, and that therefore end with the last run.
    `settings` are the stand's settings by variable; None if a version that did not record them started the stand.
    """

    home: Path
    checkout: Path
    embedded: tuple[str, ...]
    database: str
    prefect_api_url: str
    provider_base_url: str | None = None
    postgres: PostgresInfo | None = None
    processes: tuple[ProcessInfo, ...] = ()
    transient: tuple[str, ...] = ()
    settings: dict[str, Said] | None = None

    @property
    def ui_url(self) -> str:
        """The address at which an operator opens Prefect."""
        return self.prefect_api_url.removesuffix("/").removesuffix("/api")

    def credentials(self) -> dict[str, str]:
        """Return the variables that log in to the stand's Prefect: the stand's own login, else those of this process."""
        if "prefect" in self.embedded:
            pair = login.read_login(self.home)
            return {} if pair is None else {login.PAIR: pair}
        return {name: value for name in (login.KEY, login.PAIR) if (value := os.environ.get(name))}

    def environment(self) -> dict[str, str]:
        """Return the variables that make a process part of this stand; variables of the user's own parts are inherited."""
        variables = {"LANES_HOME": str(self.home), "PREFECT_API_URL": self.prefect_api_url}
        if "database" in self.embedded and self.postgres is not None:
            variables["LANES_DATABASE_URL"] = self.postgres.url("lanes")
        if "prefect" in self.embedded:
            variables |= prefect_client_environment(self.home) | self.credentials()
        if "provider" in self.embedded and self.provider_base_url is not None:
            variables |= {
                "ANTHROPIC_BASE_URL": self.provider_base_url,
                "ANTHROPIC_API_KEY": STAND_IN_KEY,
            }
        inherited = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
        hosts = [*NO_PROXY.split(","), *inherited.split(",")]
        direct = ",".join(dict.fromkeys(filter(None, hosts)))
        return variables | {"NO_PROXY": direct, "no_proxy": direct}

    def save(self) -> None:
        """Write `stand.json` in the home atomically, readable only by its owner."""
        text = AS_JSON.dump_json(self, indent=2).decode()
        write_private(self.home / FILE, text)


AS_JSON = TypeAdapter(StandInfo)


def inherit_environment(*, without_prefect: bool) -> dict[str, str]:
    """Return the variables that child processes inherit: all except `NOT_INHERITED` and, `without_prefect`, Prefect's."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in NOT_INHERITED and not (without_prefect and name.startswith("PREFECT_"))
    }


def prefect_client_environment(home: Path) -> dict[str, str]:
    """Return the variables that configure Prefect in all processes of the stand; they do not include the login."""
    return {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_CLI_PROMPT": "false",
        "DO_NOT_TRACK": "1",
    }


def load_info(home: Path) -> StandInfo | None:
    """Return the record that the last `up` wrote in this home; None if no stand is up or the file is unreadable."""
    try:
        return AS_JSON.validate_json((home / FILE).read_bytes())
    except (OSError, ValidationError):
        return None
