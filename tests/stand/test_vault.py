"""The fields of blocks in which the secrets of a stand are looked up."""

from blocks.database import DatabaseBlock
from blocks.provider import Provider
from blocks.slack_channel import SlackChannel
from lanes.stand import runs_with
from lanes.words import BLOCK


def test_every_secret_of_a_block_is_looked_up_in_its_own_field() -> None:
    secrets = {
        (block.get_block_type_slug(), name)
        for block in (DatabaseBlock, Provider, SlackChannel)
        for name, field in block.model_fields.items()
        if "SecretStr" in str(field.annotation)
    }
    # The block stores ANTHROPIC_BASE_URL in two parts: the login and the rest of the address.
    part_of_an_address = {("lanes-provider", "login")}
    assert set(runs_with.HELD.values()) == secrets - part_of_an_address
    assert runs_with.BLOCK == BLOCK
