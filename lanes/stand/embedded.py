"""Who the embedded Postgres knows: a superuser that only makes roles and databases, and for each database its owner."""

import hmac

from lanes.stand.ports import LOOPBACK

SUPERUSER = "postgres"
# The owner of each. That of Lanes is not called as its schema, which would be searched for names before all others.
OWNERS = {"lanes": "lanes_stand", "prefect": "prefect"}
OF_SUPERUSER = ("postgres", "template1")


def owner_of(database: str) -> str:
    """Return the role that a database belongs to; one of the user's own belongs to Lanes."""
    return SUPERUSER if database in OF_SUPERUSER else OWNERS.get(database, OWNERS["lanes"])


def password_of(role: str, secret: str) -> str:
    """Return a role's password: the superuser's is the server's secret, and no other reveals it."""
    return (
        secret
        if role == SUPERUSER
        else hmac.new(secret.encode(), role.encode(), "sha256").hexdigest()[:40]
    )


def address(
    database: str, *, driver: str | None, port: int, secret: str, role: str | None = None
) -> str:
    """Return the address of a database for its owner, or for another role; `driver` None is libpq's form."""
    role = role or owner_of(database)
    scheme = f"postgresql+{driver}" if driver else "postgresql"
    return f"{scheme}://{role}:{password_of(role, secret)}@{LOOPBACK}:{port}/{database}"
