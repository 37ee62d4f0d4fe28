"""The login of a Prefect server, stored in a file that curl reads (`curl -K FILE`) and that only its owner can open.

Lanes sends the login in a header and passes it on in the environment: no address, argument or log contains it.
"""

import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from lanes.errors import StandError
from lanes.stand.local import write_private

KEY, PAIR = "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"  # Prefect's clients read both
CHOSEN = "PREFECT_SERVER_API_AUTH_STRING"  # a person's choice of login for the stand's own server
OF_STAND = "prefect.curl"
OF_USER = "own-prefect.curl"
USER = "lanes"
READABLE = re.compile(r"[ -9;-~]+:[ -~]+")
KEPT = re.compile(r'user = "((?:[^"\\]|\\.)*)"')


def choose(home: Path, environment: Mapping[str, str]) -> str:
    """Return the login that the stand's own server requires: a person's choice, else the stored login, else a new one.

    Raises:
        StandError: the chosen login is not `user:password` in plain ASCII.
    """
    chosen = environment.get(CHOSEN)
    if chosen and not READABLE.fullmatch(chosen):
        raise StandError(
            f"{CHOSEN} is not USER:PASSWORD in plain ASCII: correct it, or unset it to let Lanes make one"
        )
    return chosen or read_login(home) or f"{USER}:{secrets.token_urlsafe(24)}"


def keep(home: Path, pair: str) -> None:
    """Store the login of the stand's own server, which requires it from now on."""
    write_private(home / OF_STAND, _line("user", pair))


def read_login(home: Path) -> str | None:
    """Return the login of the stand's own server; None if there is none yet, or if only another user may read it."""
    try:
        found = KEPT.search((home / OF_STAND).read_text())
    except OSError:
        return None
    return re.sub(r"\\(.)", r"\1", found[1]) if found else None


def write_user_login(home: Path, environment: Mapping[str, str]) -> Path:
    """Write the environment's login for a user's own server to a file for curl, empty without a login; return the file."""
    lines = ""
    if key := environment.get(KEY):
        lines = _line("header", f"Authorization: Bearer {key}")
    elif pair := environment.get(PAIR):
        lines = _line("user", pair)
    home.mkdir(parents=True, exist_ok=True)
    write_private(home / OF_USER, lines)
    return home / OF_USER


def _line(option: str, value: str) -> str:
    escaped = re.sub(r'(["\\])', r"\\\1", value)
    return f'{option} = "{escaped}"\n'
