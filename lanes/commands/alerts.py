"""`lanes alerts`: the incidents, and whether Slack can be told of them."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from lanes.commands.options import AsJson
from lanes.commands.running import command, print_json, print_table, tell, transaction
from lanes.errors import SetupError
from lanes.promises.incident import Incident, IncidentState, in_words
from lanes.report.table import LONGEST, Table, label, phrase
from lanes.settings import Settings
from lanes.slack.messenger import DeliveryError, messenger
from lanes.slack.wording import trial
from lanes.stand.whereabouts import stand_info
from lanes.store import incidents
from lanes.store.promises import slack_posts
from lanes.text import plain
from lanes.units import MISSING, clock, seconds

NO_SLACK = (
    "Slack is not set: set SLACK_BOT_TOKEN and SLACK_CHANNEL, or SLACK_WEBHOOK_URL. Until then incidents stay in "
    "lanes.incident_log"
)


@command
def alerts(*, all: bool = False, test: bool = False, as_json: AsJson = False) -> None:
    """Show the open incidents: which promise of which workload is broken, since when, and by how much.

    With --test, one test message goes to Slack as the environment sets it, and what happened is said.
    Exit code 1 when Slack does not take the test message.

    Args:
        all: Resolved incidents too, the newest 200.
        test: Send one test message to Slack.
    """
    with transaction() as (connection, now):
        states = tuple(IncidentState) if all else (IncidentState.OPEN,)
        found, untold = incidents.listed(connection, states=states), slack_posts.untold(connection)
    if test:
        _test(now, as_json)
    elif as_json:
        print_json([{**asdict(each), "slack_error": untold.get(each.id)} for each in found])
    elif not found:
        print("No incident was ever opened." if all else "No incident is open.")
    else:
        print_table(_table(found, now), width=140)
        for id_, problem in untold.items():
            print(plain(f"Slack was not told of incident {id_} yet: {problem}", most=LONGEST))


def _table(found: Sequence[Incident], now: datetime) -> Table[Incident]:
    def limit(of: Incident) -> str:
        return in_words(of.promise, of.limit_value) if of.limit_value else MISSING

    measured = "as it was measured last"
    return Table(
        "Incidents",
        found,
        label("Incident", lambda of: str(of.id)),
        label("Severity", lambda of: of.severity),
        label("Promise", lambda of: of.promise),
        label("Workload", lambda of: plain(of.whose, most=40)),
        phrase("Figure", measured, lambda of: in_words(of.promise, of.value)),
        phrase("Limit", "what is promised", limit),
        label("Since", lambda of: clock(of.opened_at, beside=now)),
        label("State", _state),
        label("What", lambda of: of.sentence),
    )


def _state(each: Incident) -> str:
    if each.resolved_at is None:
        return f"open {each.because}".rstrip()
    return f"resolved after {seconds((each.resolved_at - each.opened_at).total_seconds())}"


def _test(now: datetime, as_json: bool) -> None:
    settings = Settings.read()
    slack = messenger(
        bot_token=settings.slack_bot_token,
        channel=settings.slack_channel,
        webhook_url=settings.slack_webhook_url,
        api_url=settings.slack_api_url,
    )
    if slack is None:
        raise SetupError(NO_SLACK)
    try:
        place = slack.post(trial(now, ui_url=_ui_url(settings)))
    except DeliveryError as problem:
        raise SetupError(f"the test message did not arrive: {problem}") from problem
    said = "the webhook took the test message; an alert is one message when it opens and one when it ends"
    if slack.edits:
        said = f"the test message stands in {place.channel}; alerts there are edited in place"
    tell(said, {"sent": True, "channel": place.channel, "ts": place.ts}, as_json=as_json)


def _ui_url(settings: Settings) -> str:
    if (info := stand_info(settings)) is not None:
        return info.ui_url
    api_url = settings.prefect_api_url or "http://127.0.0.1:4200/api"
    return api_url.removesuffix("/").removesuffix("/api")
