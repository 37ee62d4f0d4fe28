"""`lanes export`: the definition of a workload as a commented file."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from sqlalchemy import Engine

from lanes.commands.files import Force, put
from lanes.commands.guarded import on_database
from lanes.commands.output import AsJson, print_json
from lanes.errors import SetupError, UnknownWorkload
from lanes.settings import Settings
from lanes.stand.editor import Editor
from lanes.store.workload import workloads
from lanes.workload.definition import BlockState, compare, parse
from lanes.workload.definition_file import written
from lanes.workload.version import NAME, Spec

Out = Annotated[Path | None, Parameter(help="The file to write; else standard output.")]
OfBlock = Annotated[
    bool, Parameter(name="--block", negative="", help="What the block says, in force or not.")
]


def export(
    workload: str,
    *,
    out: Out = None,
    block: OfBlock = False,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Write the definition of a workload that is in force as a commented YAML file; `lanes publish` takes it back.

    Where the block in Prefect says something else that is not in force, that is told on standard error.
    Exit code 1 when it cannot be written, 2 when there is no such workload.

    Example: lanes export tickets --out tickets.yaml
    """

    def write(pool: Engine) -> int:
        if not NAME.fullmatch(workload):
            raise UnknownWorkload(f'"{workload}" is no name of a workload')
        spec = _of_block(workload) if block else _in_force(pool, workload)
        if as_json:
            print_json({"name": workload, **spec.model_dump(mode="json")})
            return 0
        file = out.name if out else f"{workload}.yaml"
        heading = [
            f"The workload {workload}: what it asks, whom, and when.",
            f"Edit it and run `lanes publish {file}`. Its block in the Prefect UI is the same definition.",
        ]
        return put(written(workload, spec, heading=heading), out, force=force)

    return on_database(write)


def _in_force(pool: Engine, name: str) -> Spec:
    """What is in force, in the order in which its author wrote it where the block still says so."""
    with pool.begin() as connection:
        version = workloads.current(connection, name)
    try:
        seen = Editor(Settings.read()).read(name)
    except SetupError as away:
        if version is not None:
            print(f"its block was not looked at: {away}", file=sys.stderr)
        seen = None
    if version is None:
        more = (
            "; its block says something that is not in force: see --block"
            if seen is not None
            else ""
        )
        raise UnknownWorkload(f'workload "{name}" has no published version{more}')
    found = compare(name, version.spec, version, seen)
    if found.block is BlockState.SAME and seen is not None:
        return version.spec.model_copy(update={"output_schema": seen["output_schema"]})
    if found.block is BlockState.EDITED:
        fields = ", ".join(each.field for each in found.overwritten)
        print(
            f"its block says something else that is not in force ({fields}): --block writes that",
            file=sys.stderr,
        )
    if found.block is BlockState.INVALID:
        print(
            f"its block is not valid and so not in force: {'; '.join(found.problems)}",
            file=sys.stderr,
        )
    return version.spec


def _of_block(name: str) -> Spec:
    seen = Editor(Settings.read()).read(name)
    if seen is None:
        raise UnknownWorkload(f'Prefect has no block "{name}" of type Lanes workload')
    return parse(name, seen)
