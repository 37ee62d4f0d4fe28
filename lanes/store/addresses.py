"""Addresses of databases, as SQLAlchemy and as the driver take them."""

import re

# What means the same to SQLAlchemy and to the driver, but for the name of the driver.
SIMPLE = re.compile(
    r"(?:postgres|postgresql|postgresql\+psycopg)://((?:[\w.~%-]+(?::[\w.~%-]*)?@)?([\w.-]+(?::\d+)?/[\w-]+))"
)


def plain_url(url: str) -> str:
    """The same address for psycopg itself, which knows no `+psycopg`."""
    if simple := SIMPLE.fullmatch(url):
        return f"postgresql://{simple[1]}"
    from sqlalchemy.engine import make_url  # whoever asks by the driver alone mostly does without

    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def place_of(url: str) -> str | None:
    """Host, port and database of a simple address, for people; None of one that has to be looked at more closely."""
    simple = SIMPLE.fullmatch(url)
    return simple and simple[2]
