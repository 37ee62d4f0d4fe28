"""The editor of workloads in the Prefect UI. Only `tasks.publish` reads it; everything else reads versions."""

from prefect.blocks.core import Block

from lanes.workload.version import Spec


class Workload(Block, Spec):  # pyright: ignore[reportIncompatibleMethodOverride]
    """One kind of AI work: instructions, output schema, models, rules and promises.

    Saving publishes a new version within seconds. A definition that does not validate changes nothing: the last
    version stays in force and the reason is shown in the log of `answer`.
    """

    _block_type_name = "Lanes workload"
    _block_type_slug = "lanes-workload"
    _description = "One kind of AI work: instructions, output schema, models, rules and promises."
