"""The Slack channel that incidents are posted to."""

from typing import TYPE_CHECKING, Any

from prefect.blocks.core import Block, schema_extra
from pydantic import ConfigDict, Field, SecretStr

from lanes.settings import SLACK_CHANNELS
from lanes.workload.form import arrange

if TYPE_CHECKING:
    from lanes.slack.messenger import Messenger


def in_order(schema: dict[str, Any], model: type[Block]) -> None:
    """Turn a block's schema into a form: keep the order of its fields, and make each field that may be None optional."""
    schema_extra(schema, model)
    arrange(schema)


class SlackChannel(Block):
    """A Slack channel, reached with a bot token (one message per incident, edited in place) or through a webhook."""

    model_config = ConfigDict(
        json_schema_extra=in_order, hide_input_in_errors=True, use_attribute_docstrings=True
    )

    _block_type_name = "Lanes Slack channel"
    _block_type_slug = "lanes-slack-channel"
    _description = "The Slack channel that is told of incidents."

    bot_token: SecretStr | None = Field(default=None, title="Bot token")
    """xoxb-..., of a bot with chat:write and channels:history that was invited to the channel."""
    channel: str | None = Field(default=None, title="Channel")
    """Id (C0123ABCD) or #name of the channel. Used with a bot token."""
    channels: str | None = Field(default=None, title="Channels by severity", pattern=SLACK_CHANNELS)
    """Channels for single severities, such as critical=C0123ABCD,digest=#news. Empty: all messages go to the channel above."""
    webhook_url: SecretStr | None = Field(
        default=None,
        title="Webhook",
        description="Address of an incoming webhook, used without a bot token: one message when an incident opens "
        "and one when it ends.",
    )
    api_url: str | None = Field(default=None, title="API base")
    """Base address of the Slack Web API, for a stand-in."""

    def connect(self) -> "Messenger | None":
        """Return a messenger: the bot if token and channel are set, else the webhook, or None without either."""
        from lanes.slack.messenger import messenger  # not at the top: it loads the SDK

        return messenger(
            bot_token=self.bot_token,
            channel=self.channel,
            channels=self.channels,
            webhook_url=self.webhook_url,
            api_url=self.api_url,
        )
