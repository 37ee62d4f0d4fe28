"""`lanes alerts`: the incidents, and whether Slack can be told of them."""

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from lanes.commands.options import AsJson
from lanes.commands.running import on_database, print_json, screen
from lanes.errors import SetupError
from lanes.promises.incident import Incident, IncidentState, Severity, in_words
from lanes.report.table import explained
from lanes.settings import Settings
from lanes.slack.messenger import DeliveryError, messenger
from lanes.slack.wording import trial
from lanes.stand.whereabouts import stand_info
from lanes.store import incidents
from lanes.store.database import clock
from lanes.store.promises import slack_posts
from lanes.text import plain
from lanes.units import clock as written
from lanes.units import seconds

LEGEND = {"Figure": "as it was measured last", "Limit": "what is promised"}
STYLES = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow"}
NO_SLACK = (
    "Slack is not set: set SLACK_BOT_TOKEN and SLACK_CHANNEL, or SLACK_WEBHOOK_URL. Until then incidents stay in "
    "lanes.incident_log"
)


def alerts(
    *,
    all: Annotated[
        bool, Parameter(name="--all", negative="", help="Resolved incidents too, the newest 200.")
    ] = False,
    test: Annotated[
        bool, Parameter(name="--test", negative="", help="Send one test message to Slack.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Show the open incidents: which promise of which workload is broken, since when, and by how much.

    With --test, one test message goes to Slack as the environment sets it, and what happened is said.
    Exit code 1 when Slack does not take the test message.
    """
    if test:
        return on_database(lambda pool: _test(pool, as_json))
    return on_database(lambda pool: _show(pool, all, as_json))


def _show(pool: Engine, all: bool, as_json: bool) -> int:
    with pool.begin() as connection:
        states = tuple(IncidentState) if all else (IncidentState.OPEN,)
        found, now = incidents.listed(connection, states=states), clock(connection)
        untold = slack_posts.untold(connection)
    if as_json:
        print_json([{**asdict(each), "slack_error": untold.get(each.id)} for each in found])
        return 0
    console = screen(140)
    if not found:
        console.print("No incident was ever opened." if all else "No incident is open.")
        return 0
    table = Table(
        "Incident", "Severity", "Promise", "Workload", "Figure", "Limit", "Since", "State", "What"
    )
    for each in found:
        since = written(each.opened_at, beside=now)
        figure, limit = in_words(each.promise, each.value), in_words(each.promise, each.limit_value)
        table.add_row(
            str(each.id),
            Text(each.severity, STYLES[each.severity]),
            each.promise,
            Text(plain(each.whose, most=40)),
            figure,
            limit if each.limit_value else "-",
            since,
            _state(each),
            Text(plain(each.sentence, most=300)),
        )
    console.print(table)
    console.print(explained(LEGEND))
    for id_, problem in untold.items():
        console.print(Text(f"Slack was not told of incident {id_} yet: {problem}", "yellow"))
    return 0


def _state(each: Incident) -> str:
    if each.resolved_at is None:
        return f"open {each.because}".rstrip()
    return f"resolved after {seconds((each.resolved_at - each.opened_at).total_seconds())}"


def _test(pool: Engine, as_json: bool) -> int:
    settings = Settings.read()
    slack = messenger(
        bot_token=settings.slack_bot_token,
        channel=settings.slack_channel,
        webhook_url=settings.slack_webhook_url,
        api_url=settings.slack_api_url,
    )
    if slack is None:
        raise SetupError(NO_SLACK)
    with pool.begin() as connection:
        now = clock(connection)
    try:
        place = slack.post(trial(now, ui_url=_ui_url(settings)))
    except DeliveryError as problem:
        raise SetupError(f"the test message did not arrive: {problem}") from problem
    if as_json:
        print_json({"sent": True, "channel": place.channel, "ts": place.ts})
    elif slack.edits:
        print(f"the test message stands in {place.channel}; alerts there are edited in place")
    else:
        print(
            "the webhook took the test message; an alert is one message when it opens and one when it ends"
        )
    return 0


def _ui_url(settings: Settings) -> str:
    info = stand_info(settings)
    if info is not None:
        return info.ui_url
    return (
        (settings.prefect_api_url or "http://127.0.0.1:4200/api")
        .removesuffix("/")
        .removesuffix("/api")
    )
