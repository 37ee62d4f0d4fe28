"""The Slack channel that incidents are posted to."""

from typing import TYPE_CHECKING, Any

from prefect.blocks.core import Block, schema_extra
from pydantic import ConfigDict, Field, SecretStr

from lanes.settings import SLACK_CHANNELS
from lanes.workload.form import arrange

if TYPE_CHECKING:
    from lanes.slack.messenger import Messenger


def in_order(schema: dict[str, Any], model: type[Block]) -> None:
    """Make a form of a block's schema: its fields in order, each that may be None an input that may stay empty."""
    schema_extra(schema, model)
    arrange(schema)


class SlackChannel(Block):
    """A Slack channel, reached by a bot's token (one message an incident, edited in place) or by a webhook."""

    model_config = ConfigDict(
        json_schema_extra=in_order, hide_input_in_errors=True, use_attribute_docstrings=True
    )

    _block_type_name = "Lanes Slack channel"
    _block_type_slug = "lanes-slack-channel"
    _description = "The Slack channel that is told of incidents."

    bot_token: SecretStr | None = Field(default=None, title="Bot token")
    """xoxb-..., of a bot with chat:write and channels:history that was invited to the channel."""
    channel: str | None = Field(default=None, title="Channel")
    """Its id (C0123ABCD) or #name. Used with a bot token."""
    channels: str | None = Field(default=None, title="Channels by severity", pattern=SLACK_CHANNELS)
    """Other channels for a severity, such as critical=C0123ABCD,digest=#news. Empty: all go to the channel above."""
    webhook_url: SecretStr | None = Field(
        default=None,
        title="Webhook",
        description="Address of an incoming webhook, used without a bot token: one message when an incident opens "
        "and one when it ends.",
    )
    api_url: str | None = Field(default=None, title="API base")
    """Another base of the Slack Web API, for a stand-in."""

    def connect(self) -> "Messenger | None":
        """Return the way to Slack: the bot where token and channel are known, else the webhook; None without either."""
        from lanes.slack.messenger import messenger  # loads the SDK, which no drain needs

        return messenger(
            bot_token=self.bot_token,
            channel=self.channel,
            channels=self.channels,
            webhook_url=self.webhook_url,
            api_url=self.api_url,
        )
