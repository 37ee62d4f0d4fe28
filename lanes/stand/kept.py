"""The settings that a stand was started with, by variable. For a secret, only a fingerprint is stored."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from lanes.settings import Settings
from lanes.stand import login
from lanes.store.asking import place_of, plain_url
from lanes.text import has_secret

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

DATABASE = "LANES_DATABASE_URL"
DIRECT = "LANES_DIRECT_DATABASE_URL"
PREFECT = "PREFECT_API_URL"
HEARTBEAT = "LANES_HEARTBEAT_URL"
PROVIDER = "ANTHROPIC_API_KEY"
PROVIDER_URL = "ANTHROPIC_BASE_URL"
# the stand's own replacement for a variable that is not set
OWN = {DATABASE: "its own Postgres", PREFECT: "its own server", PROVIDER: "its local stand-in"}
SLACK = ("SLACK_BOT_TOKEN", "SLACK_CHANNEL", "SLACK_CHANNELS", "SLACK_WEBHOOK_URL", "SLACK_API_URL")
KEEPS_SLACK = "a `lanes up` that knows no Slack leaves the one in Prefect's block as it is"
PREFECT_CREDENTIALS = (login.KEY, login.PAIR)  # Prefect reads them itself
OF_SERVER = "PREFECT_SERVER_"
DECIDED = {  # the stand sets these itself; it stores the login separately
    login.CHOSEN,
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE",
    "PREFECT_SERVER_API_HOST",
    "PREFECT_SERVER_API_PORT",
    "PREFECT_SERVER_API_BASE_PATH",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_UI_SERVE_BASE",
}
COST = {"n": 2**12, "r": 8, "p": 1}  # of a fingerprint: about 10 ms and 4 MB


@dataclass(frozen=True)
class Said:
    """The value of a variable for people; for a secret only the part that may be shown, and its fingerprint."""

    shown: str
    fingerprint: str = ""

    def __str__(self) -> str:
        mark = self.fingerprint and f"(fingerprint {self.fingerprint})"
        return " ".join(filter(None, [self.shown, mark]))


@dataclass(frozen=True)
class Difference:
    """A variable whose values differ between the stand and this shell; None means that it is not set there."""

    variable: str
    stand: Said | None
    here: Said | None

    @property
    def is_conflict(self) -> bool:
        """Whether this shell sets another value, so that its commands do not act on the stand."""
        return self.here is not None

    @property
    def sentence(self) -> str:
        """The difference, and what to do about it."""
        if self.here is None and self.variable in SLACK:
            return (
                f"{self.variable}: the stand has {self.stand}, this shell has none; {KEEPS_SLACK}"
            )
        if self.here is None:
            takes = "takes it away from the stand otherwise"
            otherwise = "refuses without it" if self.variable in OWN else takes
            return (
                f"{self.variable}: the stand has {self.stand}, this shell has none; set it here before the next `lanes up`, "
                f"which {otherwise}"
            )
        if self.stand is None:
            theirs = OWN.get(self.variable, "none")
            return (
                f"{self.variable}: this shell has {self.here}, the stand {theirs}; unset it, or give it to the stand by "
                "`lanes up`"
            )
        return (
            f"{self.variable}: the stand has {self.stand}, this shell {self.here}; set it as the stand has it, or give this "
            "one to the stand by `lanes up`"
        )

    @property
    def change(self) -> str:
        """The difference, if the stand is about to adopt this shell's value."""
        if self.here is None and self.variable in SLACK:
            return f"{self.variable} was {self.stand}, and is not set here; {KEEPS_SLACK}"
        return f"{self.variable} was {self.stand or 'not set'}, and is {self.here or 'not set'} from now on"


def list_variables(
    settings: Settings, environment: Mapping[str, str] = os.environ
) -> dict[str, Said]:
    """Return the variables that these settings set, and those that Prefect reads itself.

    Prefect reads the login of the user's own server, or else the settings of the stand's server.
    """
    found: dict[str, Said] = {}
    for variable, value in settings.variables().items():
        clear = value.get_secret_value() if isinstance(value, SecretStr) else value
        secret = isinstance(value, SecretStr) or variable == HEARTBEAT or has_secret(clear)
        found[variable] = Said(clear.rstrip("/"))
        if secret:
            found[variable] = Said(_public(variable, clear), fingerprint(variable, clear))
    if settings.prefect_api_url is not None:
        read = {name: value for name in PREFECT_CREDENTIALS if (value := environment.get(name))}
    else:
        read = server_settings(environment)
    return found | {name: Said("", fingerprint(name, value)) for name, value in read.items()}


def server_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return a person's own settings of the stand's Prefect server; any of them may contain a secret."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(OF_SERVER) and name not in DECIDED and value
    }


def fingerprint(variable: str, secret: str) -> str:
    """Return the fingerprint of a secret, the same on every machine; guessing the secret from it is slow and uncertain."""
    text = _normalize(secret) if variable in (DATABASE, DIRECT) else secret
    return hashlib.scrypt(text.encode(), salt=f"lanes {variable}".encode(), dklen=4, **COST).hex()


def differences(
    stand: Mapping[str, Said], here: Mapping[str, Said], own: Mapping[str, Said]
) -> list[Difference]:
    """Return the differences between the two; a value in `own`, which leads to the stand's own part, counts as not set."""
    found = [Difference(each, stand.get(each), here.get(each)) for each in sorted({*stand, *here})]
    return [
        each for each in found if each.here not in (each.stand, own.get(each.variable, each.stand))
    ]


def _public(variable: str, clear: str) -> str:
    """Return the part of a secret that may be shown."""
    if variable in (DATABASE, DIRECT):
        return place_of(clear) or _place(clear)
    return _host(clear) if variable == HEARTBEAT or has_secret(clear) else ""


def _place(url: str) -> str:
    # a slow import, needed only for addresses that are not of the simple kind
    from lanes.stand.database import format_address

    read = _read(url)
    return "no address" if read is None else format_address(read)


def _normalize(url: str) -> str:
    """Return a database address in a normal form, without irrelevant differences such as the quoting of its password."""
    if place_of(url) is not None:
        return plain_url(url)
    read = _read(url)
    if read is None:
        return url
    return read.set(drivername="postgresql").render_as_string(hide_password=False)


def _read(url: str) -> "URL | None":
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        return None


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
