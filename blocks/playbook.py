"""The editor of playbooks in the Prefect UI, beside the files of `migrations/playbooks`."""

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field

from lanes.rollouts.playbook import BLOCK_TYPE


class PlaybookBlock(Block):
    """A traffic migration, as a file of migrations/playbooks states it; a rollout that has begun keeps what it said then."""

    model_config = ConfigDict(title="Playbook", use_attribute_docstrings=True)

    _block_type_name = "Lanes playbook"
    _block_type_slug = BLOCK_TYPE
    _description = "How a workload's traffic moves between the lanes: steps, gates and approvals."

    content: str = Field(min_length=1, title="Playbook")
    """YAML as in migrations/playbooks; its name is the block's. It is checked when a rollout or `lanes plan` reads it."""
