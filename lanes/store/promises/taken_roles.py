"""Sessions of other users that hold roles of Lanes by their advisory locks: each such role has its incident meanwhile."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, select, text

from lanes.promises.breaches import ForeignHolder, role_free, role_subject, role_taken
from lanes.promises.incident import EVERYBODY, IncidentState, Promise
from lanes.standing.roles import Role
from lanes.store import incidents
from lanes.store.literals import is_
from lanes.store.signals import CLASS
from lanes.store.tables import incident

Taken = Mapping[Role, Sequence[ForeignHolder]]

# A session of a user who is not ours, or of a superuser other than us: `pg_has_role` takes that one for a member of every role.
FOREIGN = """
    select l.objid as role, l.pid, a.usename as user, a.application_name as application, host(a.client_addr) as address
      from pg_locks l join pg_stat_activity a using (pid) join pg_roles u on u.oid = a.usesysid
     where locktype = 'advisory' and granted and classid = :class and objid = any(:roles) and a.usename <> current_user
       and l.database = (select oid from pg_database where datname = current_database())
       and (u.rolsuper or not exists (
             select from pg_roles r where r.rolname in ('lanes_worker', 'lanes_owner') and pg_has_role(u.oid, r.oid, 'member')))
     order by 1, 2
"""
TOLD = select(incident.c.subject).where(
    is_(incident.c.state, IncidentState.OPEN), incident.c.promise == Promise.ROLE_TAKEN
)


def taken_roles(connection: Connection) -> Taken:
    """Return the sessions of other users that hold a role of Lanes, by role. Nothing is locked by looking."""
    found = defaultdict[Role, list[ForeignHolder]](list)
    for row in connection.execute(
        text(FOREIGN), {"class": CLASS, "roles": [int(each) for each in Role]}
    ):
        role = Role(row.role)
        found[role].append(ForeignHolder(role, row.pid, row.user, row.application, row.address))
    return found


def record(connection: Connection, *, now: datetime) -> Taken:
    """Let exactly the roles that sessions of other users hold have an open incident of that kind; return those roles."""
    taken = taken_roles(connection)
    for role, holders in taken.items():
        incidents.open(connection, role_taken(role, holders), now=now)
    held = {role_subject(role) for role in taken}
    for subject in connection.execute(TOLD).scalars().all():
        if subject not in held:
            incidents.resolve(
                connection,
                Promise.ROLE_TAKEN,
                EVERYBODY,
                subject,
                sentence=role_free(subject),
                now=now,
            )
    return taken
