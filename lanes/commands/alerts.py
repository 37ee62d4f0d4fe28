"""`lanes alerts`: list incidents, silence or acknowledge one until an end time, and test whether Slack can be reached."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from cyclopts import Parameter
from pydantic import Field
from sqlalchemy import Connection

from lanes.commands import running
from lanes.commands.actions import Done, PersonAction
from lanes.commands.options import NONE_GIVEN, AsJson, Why, by
from lanes.errors import ActionRefused, SetupError
from lanes.ids import IncidentId
from lanes.money.overhead import EVERY
from lanes.promises.incident import Handling, Incident, IncidentState, format_value
from lanes.report.table import LONGEST, Table, label, phrase
from lanes.settings import Settings
from lanes.slack.wording import trial
from lanes.stand.whereabouts import stand_info
from lanes.store import incidents
from lanes.store.promises import slack_outbox
from lanes.text import plain
from lanes.units import MISSING, clock, seconds
from lanes.words import Signature
from lanes.workload.form import LARGEST, SignedLine, offer_published

NO_SLACK = (
    "Slack is not set: set SLACK_BOT_TOKEN and SLACK_CHANNEL, or SLACK_WEBHOOK_URL. Until then incidents stay in "
    "lanes.incident_log"
)
LONGEST_HOURS = 24 * 30
HANDLINGS = {"silence": Handling.SILENCED, "acknowledge": Handling.ACKNOWLEDGED}


@running.command
def alerts(
    do: Literal["silence", "ack"] | None = None,
    number: int | None = None,
    *,
    until: Annotated[str, Parameter(name=["--until", "--for"])] = "8h",
    why: Why = NONE_GIVEN,
    all: bool = False,
    test: bool = False,
    as_json: AsJson = False,
) -> int | None:
    """Show the open incidents: which promise of which workload is broken, since when, and by how much.

    ack states that you handle an incident until a given time, and its message shows that. silence stops Slack messages about
    it and about the next one of the same promise, workload and subject. If it is still open then, Slack is notified again.

    With --test, one test message goes to Slack with the environment's settings, and the outcome is printed.

    Example: lanes alerts ack 12 --for 2h --why "the provider works on it"

    Exit code 1 when Slack does not accept the test message or the incident is not open, 2 when there is no such incident.

    Args:
        do: The action on an incident. Without it, incidents are listed.
        number: Number of the incident.
        until: To silence or acknowledge: a span such as 2h, a time of day such as 18:00 (UTC), or a moment.
        all: List resolved incidents too, the newest 200.
        test: Send one test message to Slack.
    """
    if do is not None:
        return _handle(do, number, until, why, as_json)
    with running.transaction() as (connection, now):
        states = tuple(IncidentState) if all else (IncidentState.OPEN,)
        rows, slack_errors = (
            incidents.list_newest(connection, states=states),
            slack_outbox.list_untold(connection),
        )
    if test:
        _test(now, as_json)
    elif as_json:
        running.print_json(
            [{**asdict(each), "slack_error": slack_errors.get(each.id)} for each in rows]
        )
    elif not rows:
        print("No incident was ever opened." if all else "No incident is open.")
    else:
        running.print_table(_table(rows, now), width=140)
        for id_, problem in slack_errors.items():
            print(plain(f"Slack was not told of incident {id_} yet: {problem}", most=LONGEST))
    return None


def _handle(do: str, number: int | None, until: str, why: str, as_json: bool) -> int:
    if number is None:
        raise running.WrongUsage(f"{do} which? Say its number; `lanes alerts` lists them")
    with running.transaction() as (connection, now):
        incident = incidents.find(connection, IncidentId(number))
    if incident is None:
        raise running.WrongUsage(f"there is no incident {number}; `lanes alerts` lists them")

    hours = (by(until, now, ZoneInfo("UTC")) - now).total_seconds() / 3600
    action = {"ack": "acknowledge"}.get(do, do)
    given = {"incident": number, "action": action, "hours": hours}
    return running.perform(HandleIncident, incident.workload, why, as_json, **given)


def _table(rows: Sequence[Incident], now: datetime) -> Table[Incident]:
    def limit(incident: Incident) -> str:
        return (
            format_value(incident.promise, incident.limit_value)
            if incident.limit_value
            else MISSING
        )

    measured = "as it was measured last"
    return Table(
        "Incidents",
        rows,
        label("Incident", lambda of: str(of.id)),
        label("Severity", lambda of: of.severity),
        label("Promise", lambda of: of.promise),
        label("Workload", lambda of: plain(of.whose, most=40)),
        phrase("Figure", measured, lambda of: format_value(of.promise, of.value)),
        phrase("Limit", "what is promised", limit),
        label("Since", lambda of: clock(of.opened_at, beside=now)),
        label("State", _state),
        label("What", lambda of: of.sentence),
    )


def _state(incident: Incident) -> str:
    if incident.resolved_at is None:
        handled = (
            f", {plain(incident.handling_summary, most=120)}" if incident.handling_summary else ""
        )
        return f"open {incident.because}".rstrip() + handled
    return f"resolved after {seconds((incident.resolved_at - incident.opened_at).total_seconds())}"


def _test(now: datetime, as_json: bool) -> None:
    # imported late, because the Prefect forms do not need the SDK
    from lanes.slack.messenger import DeliveryError, messenger

    settings = Settings.read()
    slack = messenger(
        bot_token=settings.slack_bot_token,
        channel=settings.slack_channel,
        channels=settings.slack_channels,
        webhook_url=settings.slack_webhook_url,
        api_url=settings.slack_api_url,
    )
    if slack is None:
        raise SetupError(NO_SLACK)
    try:
        place = slack.post(trial(now, ui_url=_ui_url(settings)))
    except DeliveryError as problem:
        raise SetupError(f"the test message did not arrive: {problem}") from problem
    message = "the webhook took the test message; an alert is one message when it opens and one when it ends"
    if slack.edits:
        message = (
            f"the test message was posted in {place.channel}; alerts there are edited in place"
        )
    running.tell(message, {"sent": True, "channel": place.channel, "ts": place.ts}, as_json=as_json)


def _ui_url(settings: Settings) -> str:
    if (info := stand_info(settings)) is not None:
        return info.ui_url
    api_url = settings.prefect_api_url or "http://127.0.0.1:4200/api"
    return api_url.removesuffix("/").removesuffix("/api")


class HandleIncident(PersonAction):
    """Silence or acknowledge an open incident for some time. If it is still open afterwards, people are notified again."""

    workload: SignedLine = Field(title="Workload", json_schema_extra=offer_published(EVERY))
    """The workload of the incident; * if it concerns all workloads."""
    incident: int = Field(ge=1, le=LARGEST, title="Incident")
    """Its number, from 1, as shown by its message and `lanes alerts`."""
    action: Literal["silence", "acknowledge"] = Field(
        title="Action",
        description="silence: no message about it, nor about the next one of the same promise, workload and subject. "
        "acknowledge: you look after it; people are told when it worsens or ends.",
    )
    hours: float = Field(default=8, gt=0, le=LONGEST_HOURS, title="Hours")
    """Duration in hours, up to 720."""

    @property
    def what(self) -> str:
        """The name of the run, including the incident."""
        return f"{self.action} incident {self.incident} of {self.workload}"

    def perform(self, connection: Connection, now: datetime) -> Done:
        until, by = now + timedelta(hours=self.hours), Signature(self.who, self.why, now)
        of, handling = IncidentId(self.incident), HANDLINGS[self.action]
        handled = incidents.handle(connection, of, self.workload, handling, until=until, by=by)
        if handled is None:
            raise ActionRefused(
                f"no incident {self.incident} of {self.workload} is open: `lanes alerts` lists those that are"
            )
        return Done(f"incident {self.incident} is {handled.handling_summary}", {"until": until})
