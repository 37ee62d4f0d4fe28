"""The secrets of a stand. Prefect's blocks hold them, as `lanes up` wrote them there and flows read them; nothing else does."""

from collections.abc import Iterable
from contextlib import suppress

from lanes.stand.errors import StandError
from lanes.stand.info import StandInfo
from lanes.stand.prefect_api import PrefectApi

BLOCK = "lanes"
HELD = {
    "LANES_DATABASE_URL": ("lanes-database", "url"),
    "ANTHROPIC_API_KEY": ("lanes-provider", "api_key"),
    "SLACK_BOT_TOKEN": ("lanes-slack-channel", "bot_token"),
    "SLACK_WEBHOOK_URL": ("lanes-slack-channel", "webhook_url"),
}
ANSWER_S = 5.0


def opened(info: StandInfo, variables: Iterable[str]) -> dict[str, str]:
    """Return the values of these variables in Prefect's blocks, as far as it answers."""
    found: dict[str, str] = {}
    with suppress(StandError), PrefectApi.of_stand(info, timeout_s=ANSWER_S) as api:
        for variable in variables:
            if variable in HELD:
                slug, field = HELD[variable]
                value = (api.block(slug, BLOCK, with_secrets=True) or {}).get(field)
                if isinstance(value, str):
                    found[variable] = value
    return found
