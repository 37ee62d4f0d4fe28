"""The checks of `lanes doctor`. Each returns a description of the healthy state, or raises StandError with the problem."""

import os
import sys
from datetime import timedelta
from urllib.parse import urlsplit

import httpx2
import psycopg

from lanes.errors import StandError
from lanes.realtime.drains import ARRIVALS_THROTTLE
from lanes.settings import Settings
from lanes.stand import deploying, runs_with
from lanes.stand.database import format_address, read_address
from lanes.stand.fleet import check_places, fleet, troubles
from lanes.stand.info import STAND_IN_KEY
from lanes.stand.kept import HEARTBEAT
from lanes.stand.local import POOLS
from lanes.stand.patient import NotLooked, Patient, query_database
from lanes.stand.prefect_api import is_local
from lanes.stand.runs_with import ANTHROPIC, provider_in, rewritten
from lanes.stand.services import FLUSH_RETRIES, FLUSH_SIZE, SERVER_SETTINGS
from lanes.store.database import clock
from lanes.text import basic_auth, describe_error, mask_address, split_login
from lanes.units import pluralize
from lanes.words import BLOCK

# Events on which an automation starts a drain.
CALLING = ("lanes.item.arrived", "lanes.work.waiting")
FIRED = "prefect.automation.triggered"
FIRES_WITHIN, EVENTS_OF = timedelta(minutes=1), timedelta(hours=1)
OLDEST_PYTHON = (3, 11)
WAYS_TO_SLACK = ("SLACK_BOT_TOKEN", "SLACK_WEBHOOK_URL")
PREFECT_SERIES = "3.9"
REQUIRED_BLOCKS = ("lanes-database", "lanes-provider")
LOGIN = """
select current_user as name,
       exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where n.nspname = 'lanes' and c.relname = 'work'
                  and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'update')) as may_work
"""
API_VERSION = "2023-06-01"
MODELS = "/v1/models?limit=1"
IN_AN_OUTAGE = (
    "see the provider's status page: work is kept, and leaves for a batch automatically if it can wait; in a long outage, "
    "another Real-time model of a workload answers what arrives from then on"
)


def python_version(patient: Patient) -> str:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        raise StandError(
            f"this is Python {found} and Lanes needs 3.11 or newer: run `make setup` with a newer one"
        )
    return f"Python {found}"


def home(patient: Patient) -> str:
    folder = patient.home
    nearest = next(f for f in [folder, *folder.parents] if f.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise StandError(f"{nearest} is not writable: set LANES_HOME to a folder that is")
    return f"state in {folder}"


def shell(patient: Patient) -> str:
    differing = patient.runs.differences
    if any(each.is_conflict for each in differing):
        raise StandError("; ".join(each.sentence for each in differing))
    if differing:
        return f"what this shell lacks, the stand has: {'; '.join(each.sentence for each in differing)}"
    if patient.info is None:
        return "no stand is up: the variables of this shell count"
    if patient.info.settings is None:
        return "the variables of this shell count: those of the stand were not kept, and `lanes up` keeps them"
    return "has the settings of the stand"


def database(patient: Patient) -> str:
    url = patient.database_url()
    whose = "yours" if patient.settings.database_url is not None else "embedded"
    direct = patient.settings.direct_database_url
    beside = (
        f", without pooler at {format_address(read_address(direct.get_secret_value()))}"
        if direct
        else ""
    )
    return f"{whose}, at {url.host}:{url.port}/{url.database}{beside}"


def schema(patient: Patient) -> str:
    from lanes.store.schema import pending

    missing = query_database(patient, pending)
    if missing:
        raise StandError(
            f"the database lacks {len(missing)} migrations (the next is {missing[0]}): run `lanes up` or `lanes deploy`"
        )
    return "at the newest version"


def prefect(patient: Patient) -> str:
    url = patient.prefect_url
    if url is None:
        raise StandError("no Prefect server runs: start it with `lanes up`, or set PREFECT_API_URL")
    with patient.prefect() as api:
        version, limits = api.version(), api.read_flush_limits()
    if not version.startswith(f"{PREFECT_SERIES}."):
        raise StandError(
            f"the Prefect server at {url} has version {version}, and Lanes needs {PREFECT_SERIES}: upgrade "
            "it, or unset PREFECT_API_URL to use the embedded one"
        )
    return f"version {version} at {url}{_explain_flush_limits(*limits) if limits else ''}"


def _explain_flush_limits(size: int, retries: int) -> str:
    """Return the problem with a Prefect server's settings for writing events; empty if there is none."""
    wanted = {name: SERVER_SETTINGS[name] for name in (FLUSH_SIZE, FLUSH_RETRIES)}
    advice = "set " + " and ".join(f"{name}={value}" for name, value in wanted.items()) + " there"
    if size < int(wanted[FLUSH_SIZE]) or retries < int(wanted[FLUSH_RETRIES]):
        return f"; while its database is away it soon drops events: {advice}"
    if retries > int(wanted[FLUSH_RETRIES]):
        return f"; an event that its database refuses holds up all others: {advice}"
    return ""


def workers(patient: Patient) -> str:
    with patient.usable_prefect() as api:
        for pool in POOLS:
            if (found := api.work_pool(pool)) is None:
                raise StandError(
                    f"Prefect has no work pool `{pool}`: run `lanes up` or `lanes deploy`"
                )
            check_places(found, keep_warm=patient.settings.keep_warm)
            if not any(worker["status"] == "ONLINE" for worker in api.workers(pool)):
                raise StandError(
                    f"no worker of the work pool `{pool}` is online: run `lanes worker`, or `lanes up`"
                )
        host_reports = patient.reports()
        online = [each for each in fleet(api, host_reports) if each.is_online]
    if wrong := troubles(host_reports):
        raise StandError("; ".join(wrong))
    return f"online: {', '.join(map(str, online))}"


def deployments(patient: Patient) -> str:
    wanted = deploying.read_deployments()
    with patient.usable_prefect() as api:
        wrong = deploying.shortcomings(api, wanted)
    if wrong:
        raise StandError(
            f"{'; '.join(wrong)}: run `lanes up` or `lanes deploy` with the release that shall be in force"
        )
    return f"all {len(wanted)} and their automations as release {deploying.release()} has them"


def automations(patient: Patient) -> str:
    now = query_database(patient, clock)
    with patient.usable_prefect() as api:
        came = api.newest_event(*CALLING, since=now - EVENTS_OF, until=now - FIRES_WITHIN)
        since = (came or now) - ARRIVALS_THROTTLE - FIRES_WITHIN
        fired = api.newest_event(FIRED, since=since, until=now)
    if came is not None and fired is None:
        raise StandError(
            f"an event that starts a drain came at {came:%H:%M} UTC, and no automation has fired since {since:%H:%M}: restart "
            "Prefect's background services (`prefect server services start`). Until then, drains and workers replace lost runs"
        )
    return "they fire" if came is not None else "no event has called for one in the last hour"


def blocks(patient: Patient) -> str:
    with patient.usable_prefect() as api:
        missing = [slug for slug in REQUIRED_BLOCKS if api.block(slug, BLOCK) is None]
    if missing:
        what = f"Prefect lacks blocks named `{BLOCK}` of type {', '.join(missing)}"
        raise StandError(f"{what}: set ANTHROPIC_API_KEY and run `lanes deploy`, or run `lanes up`")
    if patient.info is not None and (others := rewritten(patient.info)):
        raise StandError(
            f"blocks hold something else than {', '.join(others)} of this stand, and flows go by blocks: a person edited them, "
            "or `lanes up` of another machine wrote them. Set the same here, or write yours again by `lanes up`"
        )
    with patient.usable_prefect() as api:
        database = api.block("lanes-database", BLOCK, with_secrets=True) or {}
    address = database.get("direct_url") or database.get("url")
    if not address:
        raise StandError(
            f"Prefect's block `{BLOCK}` of type lanes-database has no address: run `lanes deploy`, or run `lanes up`"
        )
    user = check_login(str(address))
    return f"present; runs connect to the database as {user}"


def check_login(url: str) -> str:
    """Return the database user of flow runs that connect to this address.

    Raises:
        StandError: no session can be opened at the address, or the user may not change work.
    """
    from lanes.store.asking import ask_by_driver

    block, again = (
        "the block `lanes` of type Lanes database",
        "run `lanes deploy` with a login that has",
    )
    try:
        with ask_by_driver(url) as ask:
            (row,) = ask(LOGIN)
    except psycopg.Error as error:
        raise StandError(
            f"runs cannot use the address of {block} ({describe_error(error)}): {again} rights there"
        ) from error
    if not row.may_work:
        raise StandError(
            f"runs connect to the database as {row.name}, as {block} says, which may not change work: grant it the role "
            f"lanes_worker (`lanes roles` makes that), or {again} it"
        )
    return str(row.name)


def provider(patient: Patient) -> str:
    base, key = provider_of(patient)
    answer, at = ask(base, key, MODELS), mask_address(base)
    _check_accepted(answer, base)
    if answer.status_code == 404:
        raise StandError(
            f"{at} has no /v1/models: correct ANTHROPIC_BASE_URL, or unset it to use {ANTHROPIC}"
        )
    if answer.status_code >= 400:
        raise StandError(
            f"{at} answered {answer.status_code} to a question for its models: try again later"
        )
    return f"local stand-in at {at}" if key == STAND_IN_KEY else f"{at} accepts the key"


def key(settings: Settings) -> str | None:
    """Try the shell's key at the provider; return a warning if the provider gives no usable answer, None if all is well.

    Raises:
        StandError: the provider refuses the key.
    """
    if settings.anthropic_api_key is None:
        return None
    base = settings.anthropic_base_url or ANTHROPIC
    try:
        answer = ask(base, settings.anthropic_api_key.get_secret_value(), MODELS)
    except StandError as unreachable:
        return f"{unreachable}; the key could not be tried, and what waits is asked once the provider answers"
    _check_accepted(answer, base)
    if answer.status_code >= 400:
        at = mask_address(base)
        return f"{at} answered {answer.status_code} to a question for its models: the key could not be tried"
    return None


def _check_accepted(answer: httpx2.Response, base: str) -> None:
    if answer.status_code in (401, 403):
        raise StandError(
            f"{mask_address(base)} refuses ANTHROPIC_API_KEY ({answer.status_code}): set a key that is valid there, or "
            "correct ANTHROPIC_BASE_URL, then run `lanes up`"
        )


def models(patient: Patient) -> str:
    if patient.provider is None:
        raise NotLooked("the model provider has to run first")
    wanted, providers = _models_of_workloads(patient), {BLOCK: patient.provider}
    for (block, model), workload in sorted(wanted.items()):
        if (
            block not in providers
            and (found := provider_in(patient.usable_prefect(), block)) is not None
        ):
            providers[block] = found
        if block not in providers:
            raise StandError(
                f'workload "{workload}" names provider block "{block}", which Prefect does not have: create it, or correct the '
                "workload"
            )
        base, key = providers[block]
        answer, at = ask(base, key, f"/v1/models/{model}"), mask_address(base)
        if answer.status_code in (401, 403):
            raise StandError(
                f"{at} refuses the key of provider block {block} ({answer.status_code}): set a valid one there, then run "
                "`lanes up`"
            )
        if answer.status_code == 404:
            raise StandError(
                f'{at} knows no model "{model}", which workload "{workload}" uses: correct it in its block'
            )
        if answer.status_code >= 400:
            raise NotLooked(f"the provider answered {answer.status_code} for {model}")
    if not wanted:
        return "no workload is published yet"
    others = "".join(
        f", for provider block {block}" for block in sorted(providers.keys() - {BLOCK})
    )
    return f"{', '.join(sorted({model for _, model in wanted}))} known{others}"


def circuits(patient: Patient) -> str:
    from lanes.store.database import clock
    from lanes.store.realtime.circuits import list_open

    unasked, now = query_database(
        patient, lambda connection: (list_open(connection), clock(connection))
    )
    if unasked:
        sentences = [
            each.describe(model, account, now) for (account, model), each in unasked.items()
        ]
        raise StandError("; ".join([*sentences, IN_AN_OUTAGE]))
    return "no circuit is open: every model takes calls"


def check_standing(patient: Patient) -> str:
    from lanes.promises.breaches import describe_takeover
    from lanes.store.promises.recording import find_taken_roles

    if found := query_database(patient, find_taken_roles):
        raise StandError(
            "; ".join(describe_takeover(role, holders) for role, holders in found.items())
        )
    return "no session outside Lanes holds a role"


def webhooks(patient: Patient) -> str:
    from lanes.store.webhooks import list_subscribers

    subscribers = query_database(patient, list_subscribers)
    away = [f'webhook "{each.name}" rests: {each.last_error}' for each in subscribers if each.rests]
    lost = [f'"{each.name}" was not sent {each.given_up}' for each in subscribers if each.given_up]
    if away or lost:
        again = "`lanes webhooks test NAME` tries one, `lanes webhooks replay NAME` sends what was given up"
        raise StandError("; ".join([*away, *lost, again]))
    return (
        f"{pluralize(len(subscribers), 'webhook')} set, none in trouble"
        if subscribers
        else "none is set"
    )


def slack(patient: Patient) -> str:
    settings = patient.settings
    channel = settings.slack_channel
    token, webhook = WAYS_TO_SLACK
    has_token = settings.slack_bot_token is not None or token in patient.runs.unknown
    has_webhook = settings.slack_webhook_url is not None or webhook in patient.runs.unknown
    if has_token and channel is None:
        raise StandError(
            "SLACK_BOT_TOKEN is set but SLACK_CHANNEL is not: set it to the channel for alerts"
        )
    if channel is not None and not has_token and not has_webhook:
        raise StandError(
            "SLACK_CHANNEL is set but SLACK_BOT_TOKEN is not: set the token of a bot in that channel"
        )
    if has_token:
        return f"alerts go to {channel}, one message each, edited in place"
    if settings.slack_webhook_url is not None:
        webhook_url = settings.slack_webhook_url.get_secret_value()
        _check_address("SLACK_WEBHOOK_URL", webhook_url, secret=True)
    if has_webhook:
        return "alerts go to the webhook: one message when an incident opens and one when it ends"
    if patient.info is not None and runs_with.read_blocks(patient.info, WAYS_TO_SLACK):
        return (
            "not set here: alerts go where Prefect's block `lanes` of type Lanes Slack channel says"
        )
    return "not set: alerts stay in incident_log"


def heartbeat(patient: Patient) -> str:
    if HEARTBEAT in patient.runs.unknown:
        return f"pinged at {patient.runs.unknown[HEARTBEAT].shown}"
    url = patient.settings.heartbeat_url
    if url is None:
        return "not set: nothing outside notices when the watch itself stops"
    _check_address("LANES_HEARTBEAT_URL", url)
    return f"pinged at {urlsplit(url).hostname}"


def _check_address(variable: str, url: str, *, secret: bool = False) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        shown = "" if secret else f" ({mask_address(url)})"
        raise StandError(f"{variable}{shown} is not an http address: correct or unset it")


def provider_of(patient: Patient) -> tuple[str, str]:
    if patient.provider is None:
        raise StandError(
            "no model provider: start the local stand-in with `lanes up`, or set ANTHROPIC_API_KEY"
        )
    return patient.provider


def ask(base: str, key: str, path: str) -> httpx2.Response:
    bare, login = split_login(base)
    headers = {"x-api-key": key, "anthropic-version": API_VERSION, **basic_auth(login)}
    try:
        local = is_local(bare)
        return httpx2.get(f"{bare}{path}", headers=headers, timeout=10, trust_env=not local)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise StandError(
            f"the model provider at {mask_address(base)} gives no answer ({type(error).__name__}): check the network and "
            "ANTHROPIC_BASE_URL"
        ) from error


def _models_of_workloads(patient: Patient) -> dict[tuple[str, str], str]:
    """Return, for each provider block and model in use, the name of one workload that uses them."""
    from lanes.store.workload.workloads import read_versions

    return {
        (version.spec.provider, model): version.workload
        for version in query_database(patient, read_versions).values()
        for model in (version.spec.realtime_model, version.spec.batch_model)
    }
