"""The commands for the stand of this checkout: start, stop and check it, and reach its components."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.text import Text

from lanes.commands.options import AsJson
from lanes.commands.running import WrongUsage, command, print_json, print_line, tell
from lanes.errors import StandError
from lanes.settings import Settings
from lanes.stand import addresses, reaching
from lanes.stand.database import read_address
from lanes.stand.info import SUPERUSER
from lanes.stand.progress import Console
from lanes.stand.whereabouts import database_url, stand_info


@command
def up(*, samples: bool = False, as_json: AsJson = False) -> None:
    """Start the missing components of the stand: Postgres, schema, model endpoint, Prefect, deployments, workers.

    The command first asks the provider whether it accepts the key: if it refuses, nothing is started or written, exit code 1.
    Running components are kept. Safe to repeat, and to call from several shells at once, also alongside `make run`.

    Args:
        samples: Publish the sample workloads into your own database. An embedded one has them.
    """
    from lanes.stand.progress import progress
    from lanes.stand.stand import Stand

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with progress() as shown:
        try:
            result = Stand(Settings.read()).up(shown, samples=samples)
        except KeyboardInterrupt:
            message = "interrupted: what this command had started was stopped again"
            raise StandError(message) from None
    info = result.info
    data = {**asdict(info), "ui_url": info.ui_url, "started": result.started}
    tell(f"Prefect UI: {info.ui_url}", data, as_json=as_json)


@command
def down(*, as_json: AsJson = False) -> None:
    """Stop everything that the stand started. Your own database and Prefect are not touched."""
    from lanes.stand.progress import progress
    from lanes.stand.stand import Stand

    with progress() as shown:
        stopped = Stand(Settings.read()).down(shown)
    if as_json:
        print_json({"stopped": stopped})
    elif not stopped:
        print("nothing was running")


@command
def deploy(*, samples: bool = False, as_json: AsJson = False) -> None:
    """Write what all hosts share into your Postgres and Prefect: schema, work pools, deployments, blocks, automations.

    Run it once for each release, before `lanes worker` starts on the hosts; `lanes up` on one machine does both. It starts no
    process. Safe to repeat; two concurrent calls run one after the other.

    Args:
        samples: Publish the sample workloads too.
    """
    from lanes.stand.progress import progress
    from lanes.stand.stand import Stand

    with progress() as shown:
        release = Stand(Settings.read()).deploy(shown, samples=samples)
    tell(f"deployed release {release}", {"release": release}, as_json=as_json)


@command
def worker(*, pool: tuple[Literal["realtime", "batch"], ...] | None = None) -> int:
    """Run this host's workers in the foreground, with a supervisor that replaces standing runs; they log to standard output.

    For systemd, Docker and Kubernetes. SIGTERM or Ctrl-C ends the runs and the workers in order. Exit code 1 when a worker ends
    by itself, when Prefect no longer accepts the login, or at the start when the schema is not that of this release.

    Example: lanes worker --pool realtime

    Args:
        pool: The work pool to serve; repeat the option for both. The default: both.
    """
    from lanes.stand.local import POOLS
    from lanes.stand.serving import serve

    settings = Settings.read()
    return serve(pool or tuple(POOLS), settings, reaching.environment(settings))


@command
def doctor(*, after_restore: bool = False, as_json: AsJson = False) -> int:
    """Check settings, database, schema, Prefect, workers, deployments, blocks, provider, models and Slack.

    Each check prints ok, or one sentence: what is wrong and what to do. Exit code 1 when something is wrong.

    `lanes doctor --after-restore` reports how old the rows of a restored database are, which of the provider's batches left
    since then, which items are lost, and from where events are read and published. From then on no batch leaves until `collect`
    has adopted the batches that are ours. Safe to repeat.

    Args:
        after_restore: Check what a backup does not contain, after it was restored.
    """
    from lanes.stand.after_restore import CHECKS as AFTER_RESTORE
    from lanes.stand.doctor import CHECKS, examine, is_healthy

    findings = examine(of=AFTER_RESTORE if after_restore else CHECKS)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        console = Console(highlight=False, soft_wrap=True)
        for each in findings:
            print_line(console, each.verdict, each.check, each.sentence)
    return 0 if is_healthy(findings) else 1


@command
def url(name: str | None = None, /, *, curl_config: bool = False, as_json: AsJson = False) -> int:
    """Print the addresses: the Prefect UI, the newest report, the database without its password, the provider.

    With one of the names prefect, report, database, provider, only that address.

    `xdg-open "$(lanes url report)"`

    `psql "$(lanes url database)"` asks for the password; `lanes psql` does not.

    `curl -K "$(lanes url prefect --curl-config)" "$(lanes url prefect)/api/admin/version"` logs in to the API. The file
    is readable only by its owner; to log in to the stand's own UI, type the text between the file's quotation marks.

    Exit code 1 when there is no such address now, 2 when there is no such name.

    Args:
        name: prefect, report, database or provider. The default: all.
        curl_config: With prefect: print the path of the file that logs curl in, instead of the address.
    """
    if name is not None and name not in addresses.names():
        raise WrongUsage(f'"{name}" has no address; these have: {", ".join(addresses.names())}')
    if curl_config and (name != "prefect" or as_json):
        raise WrongUsage("--curl-config is for `lanes url prefect` alone")
    settings = Settings.read()
    if curl_config:
        print(reaching.curl_config(settings))
        return 0
    locations = [addresses.find(each, settings) for each in ([name] if name else addresses.names())]
    if as_json:
        print_json({each.name: each.url for each in locations})
    elif name is None:
        console = Console(highlight=False, soft_wrap=True)
        for each in locations:
            why = (f"  {each.why}" if each.why else "", "dim")
            console.print(Text.assemble(f"{each.name:<10}", each.url or "-", why))
    elif locations[0].url is not None:
        print(locations[0].url)
    if name is not None and locations[0].url is None:
        print(locations[0].why, file=sys.stderr)
    return 0 if any(each.url for each in locations) else 1


@command
def psql(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    """Open psql on the database of Lanes. The password does not appear on the command line.

    `lanes psql`

    `lanes psql -c "select workload, state, count(*) from lanes.item_status group by 1, 2"`

    It runs the psql of the embedded Postgres, or else the one on the PATH. The exit code is that of psql; 1 without a psql.

    Args:
        arguments: Further arguments for psql.
    """
    database = read_address(database_url())
    command_line = addresses.psql_command(addresses.psql_program(), database, arguments)
    _become(command_line, addresses.psql_environment(database, os.environ))


@command
def prefect(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    """Run Prefect's own command on the Prefect server of Lanes. The login does not appear on the command line.

    `lanes prefect deployment run report/report`

    `lanes prefect flow-run ls`

    The exit code is that of Prefect's command; 1 when no server is known.

    Args:
        arguments: The arguments of Prefect's own command.
    """
    _become([sys.executable, "-m", "prefect", *arguments], reaching.environment(Settings.read()))


def _become(command_line: list[str], environment: Mapping[str, str]) -> None:
    """Replace this process with the command."""
    sys.stdout.flush()
    os.execve(command_line[0], command_line, environment)


@command
def roles(*, shared: bool = False, tenant: Sequence[str] = (), as_json: AsJson = False) -> None:
    """Create the database roles lanes_intake, lanes_reader, lanes_tenant, lanes_worker and lanes_owner with their rights.

    The schema is migrated, and lanes_owner owns it from then on. Only members of the roles may connect. Grant a role to a
    login: `grant lanes_intake to my_app`. Needs a superuser, or a user with CREATEROLE that owns database and schema; the
    stand's own Postgres has one. Safe to repeat.

    Example: LANES_DATABASE_URL=postgresql://admin:secret@db.example.com/lanes lanes roles

    Exit code 1 when the user lacks the rights.

    Args:
        shared: Other programs use this database: logins that may connect now keep that right.
        tenant: LOGIN=CONSUMER binds a login to a consumer: with role lanes_tenant it reads only that consumer's data, with
            lanes_intake it sends only for that consumer. May be repeated. LOGIN= removes all consumers from the login.
    """
    from lanes.store.current.roles import DatabaseRole
    from lanes.store.schema import set_up_roles

    pairs = [each.partition("=") for each in tenant]
    if unclear := [login for login, sign, _ in pairs if not (login and sign)]:
        raise WrongUsage(f'--tenant {unclear[0]}: write LOGIN=CONSUMER, such as crm="support-desk"')
    bound = [(login, consumer) for login, _, consumer in pairs]
    created = set_up_roles(_administrator(), shared=shared, tenants=bound)
    made = f"created {', '.join(created)}" if created else f"all there: {', '.join(DatabaseRole)}"
    who = "logins that could connect still can" if shared else "only their members may connect"
    of = [f"{login} is bound to {consumer or 'no consumer'}" for login, consumer in bound]
    message = "\n".join([f"roles {made}", f"database: {who}", *of])
    data = {"roles": list(DatabaseRole), "created": created, "shared": shared}
    tell(message, data, as_json=as_json)


def _administrator() -> str:
    """Return the address of a user who may create roles: the stand's own superuser, or the configured user."""
    settings = Settings.read()
    info, named = stand_info(settings), settings.database_url
    own = info.postgres if info is not None and "database" in info.embedded else None
    if own is not None and (named is None or named.get_secret_value() == own.url("lanes")):
        return own.url("lanes", role=SUPERUSER)
    return read_address(database_url(direct=True)).render_as_string(hide_password=False)
