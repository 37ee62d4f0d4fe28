"""Addresses and texts without the secrets in them, for everything that a person or a log sees.

A secret in an address is its login (`scheme://user:password@host`), or a field that is named like one: `?password=`,
`?sslpassword=`, `?api_key=`, and the same in the `key=value` form of libpq.
"""

import base64
import re
from urllib.parse import unquote, urlsplit, urlunsplit

HIDDEN = "***"
LIBPQ_SECRETS = (
    "password",
    "sslpassword",
    "oauth_client_secret",
)  # parameters of libpq; `passfile` and `sslkey` are paths
_LOGIN = re.compile(
    r"://[^\s\"'<>]*@"
)  # up to the last one: a password that was not percent-encoded may hold more
_FIELD = re.compile(
    r"\b(?!sslkey\b)([\w-]*(?:password|passwd|passphrase|pwd|secret|token|key|signature)[\w-]*)(\s*=\s*)"
    r"('(?:[^'\\]|\\.)*'?|[^\s&,;)\"']+)",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """Return the text with `***` in place of each login of an address and each field that is named like a secret."""
    return _FIELD.sub(rf"\1\2{HIDDEN}", _LOGIN.sub(f"://{HIDDEN}@", text))


def holds_secret(address: str) -> bool:
    """Return whether the address holds a login or a secret field."""
    return masked(address) != address


def split_login(address: str) -> tuple[str, str | None]:
    """Return an HTTP address without its login, and the login as `user:password`, None where it has none."""
    parts = urlsplit(address)
    login, at, host = parts.netloc.rpartition("@")
    return (urlunsplit(parts._replace(netloc=host)), unquote(login)) if at else (address, None)


def basic(login: str | None) -> dict[str, str]:
    """Return the header by which HTTP takes the login; none without one."""
    return (
        {}
        if login is None
        else {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    )


def shown(address: str) -> str:
    """Return an HTTP address for people: without its login, and with its secret fields masked."""
    try:
        return masked(split_login(address)[0])
    except ValueError:  # no address at all
        return masked(address)
