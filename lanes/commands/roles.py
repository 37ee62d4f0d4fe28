"""`lanes roles`: the database roles that a platform engineer grants to logins."""

from typing import Annotated

from cyclopts import Parameter

from lanes.commands.guarded import guarded
from lanes.commands.output import AsJson, print_json
from lanes.settings import Settings
from lanes.stand.database import read_address
from lanes.stand.embedded import SUPERUSER
from lanes.stand.whereabouts import database_url, stand_info


def roles(
    *,
    shared: Annotated[
        bool,
        Parameter(
            negative="",
            help="Other programs use this database: logins that may connect now keep that right.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Create the database roles lanes_intake, lanes_reader, lanes_worker and lanes_owner, and give each what it may do.

    The schema is brought up to date and belongs to lanes_owner from then on. Only members of the roles may connect. Grant a
    role to a login: `grant lanes_intake to my_app`. Needs a superuser, or a user with CREATEROLE that owns database and schema;
    the stand's own Postgres has one. Repeat it whenever you like.

    Example: LANES_DATABASE_URL=postgresql://admin:secret@db.example.com/lanes lanes roles

    Exit code 1 when the user may not do that.
    """

    def set_up() -> int:
        from lanes.store.current.roles import DatabaseRole
        from lanes.store.schema import set_up_roles

        created = set_up_roles(_administrator(), shared=shared)
        if as_json:
            print_json({"roles": list(DatabaseRole), "created": created, "shared": shared})
        else:
            print(
                f"{', '.join(DatabaseRole)}: {'created ' + ', '.join(created) if created else 'all were there'}"
            )
            print(
                "who could connect still can"
                if shared
                else "only members of these roles may connect to the database"
            )
        return 0

    return guarded(set_up)


def _administrator() -> str:
    """Return the address of who may make roles: the stand's own superuser, or the user's own."""
    settings = Settings.read()
    info, named = stand_info(settings), settings.database_url
    own = info.postgres if info is not None and "database" in info.embedded else None
    if own is not None and (named is None or named.get_secret_value() == own.url("lanes")):
        return own.url("lanes", role=SUPERUSER)
    return read_address(database_url()).render_as_string(hide_password=False)
