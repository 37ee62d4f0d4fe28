"""The login of a Prefect server, kept in a file that curl reads (`curl -K FILE`) and that only its owner can open.

Lanes sends it in a header and hands it on in the environment: it stands in no address, argument or log.
"""

import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from lanes.errors import StandError
from lanes.stand.local import write_private

KEY, PAIR = "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"  # Prefect's clients read both
CHOSEN = "PREFECT_SERVER_API_AUTH_STRING"  # what a person wants the stand's own server to ask for
OF_STAND = "prefect.curl"
OF_USER = "own-prefect.curl"
USER = "lanes"
READABLE = re.compile(r"[ -9;-~]+:[ -~]+")
KEPT = re.compile(r'user = "((?:[^"\\]|\\.)*)"')


def choose(home: Path, environment: Mapping[str, str]) -> str:
    """Return the login that the stand's own server asks for: the one a person chose, else the kept one, else a new one.

    Raises:
        StandError: the chosen one cannot serve as `user:password`.
    """
    chosen = environment.get(CHOSEN)
    if chosen and not READABLE.fullmatch(chosen):
        raise StandError(
            f"{CHOSEN} is not USER:PASSWORD in plain ASCII: correct it, or unset it to let Lanes make one"
        )
    return chosen or read_login(home) or f"{USER}:{secrets.token_urlsafe(24)}"


def keep(home: Path, pair: str) -> None:
    """Keep the login of the stand's own server, which asks for it from now on."""
    write_private(home / OF_STAND, _line("user", pair))


def read_login(home: Path) -> str | None:
    """Return the login of the stand's own server; None where there is none yet, or where it is another user's to read."""
    try:
        found = KEPT.search((home / OF_STAND).read_text())
    except OSError:
        return None
    return re.sub(r"\\(.)", r"\1", found[1]) if found else None


def write_user_login(home: Path, environment: Mapping[str, str]) -> Path:
    """Write the login of a user's own server, as the environment has it, for curl; empty where that asks for none."""
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
