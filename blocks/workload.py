"""The editors of workloads and playbooks in the Prefect UI.

Only `tasks.publish` reads the blocks of workloads; everything else reads versions. Playbooks are also files in
`migrations/playbooks`.
"""

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field

from lanes.rollouts.playbook import BLOCK_TYPE
from lanes.workload.version import Spec


class Workload(Block, Spec):  # pyright: ignore[reportIncompatibleMethodOverride]
    """One kind of AI work: instructions, output schema, models, rules and promises.

    Saving publishes a new version within seconds. A definition that does not validate changes nothing: the last
    version stays in force and the reason is shown in the log of `answer`.
    """

    _block_type_name = "Lanes workload"
    _block_type_slug = "lanes-workload"
    _description = "One kind of AI work: instructions, output schema, models, rules and promises."


class PlaybookBlock(Block):
    """A traffic migration, as in a file of migrations/playbooks; a change does not affect rollouts that have begun."""

    model_config = ConfigDict(title="Playbook", use_attribute_docstrings=True)

    _block_type_name = "Lanes playbook"
    _block_type_slug = BLOCK_TYPE
    _description = "How a workload's traffic moves between the lanes: steps, gates and approvals."

    content: str = Field(min_length=1, title="Playbook")
    """YAML as in migrations/playbooks, named after the block. It is validated when a rollout or `lanes plan` reads it."""
