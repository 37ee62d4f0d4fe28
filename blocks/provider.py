"""Who answers, and which account pays."""

import hashlib

from anthropic import AsyncAnthropic
from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from lanes.provider.client import connect


class Provider(Block):
    """The Anthropic account, or the local stand-in that takes its place."""

    _block_type_name = "Lanes provider"
    _block_type_slug = "lanes-provider"
    _description = "The Anthropic account that answers and is billed."

    api_key: SecretStr = Field(title="API key", description="An Anthropic API key of a workspace used by nothing else.")
    base_url: str = Field(
        default="https://api.anthropic.com", title="Base URL", description="Another address than Anthropic's own."
    )
    most_calls: int = Field(
        default=64, ge=1, le=500, title="Most calls at once",
        description="Real-time calls in flight of one drain, 1 to 500. Their length decides how many of these are used.",
    )
    poll_s: float = Field(
        default=30, ge=0.2, le=600, title="Poll every (seconds)",
        description="How often open batches are looked up, 0.2 to 600.",
    )
    listing_grace_s: int = Field(
        default=600, ge=1, le=86_400, title="Listing grace (seconds)",
        description="A created batch is listed within this time, 1 to 86400. After a lost answer, one that is not "
        "listed by then was never created and its items are submitted again.",
    )

    @property
    def account(self) -> str:
        """Names the paying account without revealing its key."""
        secret = f"{self.base_url}\x1f{self.api_key.get_secret_value()}"
        return hashlib.sha256(secret.encode()).hexdigest()[:16]

    def connect(self) -> AsyncAnthropic:
        """A client that asks once; close it, or use it as a context manager."""
        return connect(api_key=self.api_key.get_secret_value(), base_url=self.base_url)
