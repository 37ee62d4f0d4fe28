"""A stand's secrets are looked for where its blocks hold them."""

from blocks.database import DatabaseBlock
from blocks.provider import Provider
from blocks.slack_channel import SlackChannel
from lanes.stand import runs_with
from lanes.words import BLOCK


def test_every_secret_of_a_block_is_looked_for_where_the_block_has_it() -> None:
    secrets = {
        (block.get_block_type_slug(), name)
        for block in (DatabaseBlock, Provider, SlackChannel)
        for name, field in block.model_fields.items()
        if "SecretStr" in str(field.annotation)
    }
    part_of_an_address = {
        ("lanes-provider", "login")
    }  # of ANTHROPIC_BASE_URL, of which the block keeps two parts
    assert set(runs_with.HELD.values()) == secrets - part_of_an_address
    assert runs_with.BLOCK == BLOCK
