"""What others may do with the views and functions: it stays when one of them is made anew. Grants on single columns do not."""

from collections import defaultdict

from sqlalchemy import Connection, text

from lanes.store.tables import SCHEMA

Object = tuple[str, str]  # kind and name
Grant = tuple[str, str, bool]  # privilege, grantee as SQL writes it, whether it may be passed on

_GRANTS = text("""
with found (kind, name, oid, acl) as (
  select 'table', relname, oid, coalesce(relacl, acldefault('r', relowner))
    from pg_class where relnamespace = to_regnamespace(:schema) and relkind = 'v'
  union all
  select 'function', proname, oid, coalesce(proacl, acldefault('f', proowner))
    from pg_proc where pronamespace = to_regnamespace(:schema))
select f.kind, f.name,
       case f.kind when 'table' then f.oid::regclass::text else f.oid::regprocedure::text end as identity,
       a.privilege_type, case a.grantee when 0 then 'public' else a.grantee::regrole::text end as grantee, a.is_grantable
  from found f cross join lateral aclexplode(f.acl) a
""")


def granted(connection: Connection) -> dict[Object, set[Grant]]:
    """Who may do what with each view and function of schema `lanes`; of functions of one name, with any of them."""
    return _read(connection)[0]


def restore(connection: Connection, before: dict[Object, set[Grant]]) -> None:
    """What stood before and stands now may be used by whom it could be used before."""
    now, identities = _read(connection)
    for each in before.keys() & now.keys():
        for identity in identities[each]:
            for privilege, grantee, may_pass_on in sorted(before[each] - now[each]):
                passing = " with grant option" if may_pass_on else ""
                connection.execute(
                    text(f"grant {privilege} on {each[0]} {identity} to {grantee}{passing}")
                )
            for privilege, grantee, _ in sorted(now[each] - before[each]):
                connection.execute(
                    text(f"revoke {privilege} on {each[0]} {identity} from {grantee}")
                )


def _read(connection: Connection) -> tuple[dict[Object, set[Grant]], dict[Object, set[str]]]:
    grants, identities = defaultdict[Object, set[Grant]](set), defaultdict[Object, set[str]](set)
    for row in connection.execute(_GRANTS, {"schema": SCHEMA}):
        grants[row.kind, row.name].add((row.privilege_type, row.grantee, row.is_grantable))
        identities[row.kind, row.name].add(row.identity)
    return grants, identities
