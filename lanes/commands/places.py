"""`lanes url`, `lanes psql` and `lanes prefect`: where everything is, and ways in that show no password."""

import os
import sys
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from lanes.commands.guarded import guarded
from lanes.commands.output import AsJson, print_json
from lanes.settings import Settings
from lanes.stand import psql as psql_
from lanes.stand import reaching
from lanes.stand.addresses import Address, find, names
from lanes.stand.console import Console
from lanes.stand.database import read_address
from lanes.stand.whereabouts import database_url


def url(
    name: Annotated[
        str | None, Parameter(help="prefect, report, database or provider. The default: all.")
    ] = None,
    /,
    *,
    curl_config: Annotated[
        bool,
        Parameter(
            negative="",
            help="With prefect: the file that logs curl in to it, instead of its address.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Print where everything is: the Prefect UI, the newest report, the database without its password, the provider.

    With one of the names prefect, report, database, provider: that address alone.

    `xdg-open "$(lanes url report)"`

    `psql "$(lanes url database)"` asks for the password; `lanes psql` knows it.

    `curl -K "$(lanes url prefect --curl-config)" "$(lanes url prefect)/api/admin/version"` logs in to the API. The file is
    readable by its owner only; in the stand's own UI type what stands there between the quotation marks.

    Exit code 1 when there is no such address now, 2 when there is no such name.
    """
    if name is not None and name not in names():
        print(f'"{name}" has no address; these have: {", ".join(names())}', file=sys.stderr)
        return 2

    if curl_config and (name != "prefect" or as_json):
        print("--curl-config is for `lanes url prefect` alone", file=sys.stderr)
        return 2

    def look() -> int:
        settings = Settings.read()
        if curl_config:
            print(reaching.curl_config(settings))
            return 0
        found = [find(each, settings) for each in ([name] if name else names())]
        if as_json:
            print_json({each.name: each.url for each in found})
        elif name is None:
            _print_all(found)
        elif found[0].url is not None:
            print(found[0].url)
        if name is not None and found[0].url is None:
            print(found[0].why, file=sys.stderr)
        return 0 if any(each.url for each in found) else 1

    return guarded(look)


def psql(
    *arguments: Annotated[
        str, Parameter(allow_leading_hyphen=True, help="What psql is told besides.")
    ],
) -> int:
    """Open psql on the database of Lanes. The password is on no command line.

    `lanes psql`

    `lanes psql -c "select workload, state, count(*) from lanes.item_status group by 1, 2"`

    It is the psql of the embedded Postgres, else the one on the PATH. The exit code is its own; 1 when there is none.
    """

    def become() -> int:
        database = read_address(database_url())
        command = psql_.command(psql_.program(), database, arguments)
        sys.stdout.flush()
        os.execve(command[0], command, psql_.environment(database, os.environ))

    return guarded(become)


def prefect(
    *arguments: Annotated[
        str, Parameter(allow_leading_hyphen=True, help="What Prefect's command is told.")
    ],
) -> int:
    """Run Prefect's own command on the Prefect server of Lanes. The login is on no command line.

    `lanes prefect deployment run report/report`

    `lanes prefect flow-run ls`

    The exit code is its own; 1 when no server is known.
    """

    def become() -> int:
        environment = reaching.environment(Settings.read())
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, "-m", "prefect", *arguments], environment)

    return guarded(become)


def _print_all(addresses: list[Address]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for each in addresses:
        console.print(
            Text.assemble(
                f"{each.name:<10}", each.url or "-", (f"  {each.why}" if each.why else "", "dim")
            )
        )
