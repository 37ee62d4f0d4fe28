"""docs/reference/settings.md: the environment variables, and the blocks of the Prefect UI that hold settings."""

import ast
import inspect
from itertools import pairwise

from blocks.database import DatabaseBlock
from blocks.provider import Provider
from blocks.slack_channel import SlackChannel
from blocks.workload import PlaybookBlock
from lanes.settings import Settings
from tests.docs.references.fields import default, described, model_table
from tests.docs.references.markdown import code, document, table

ABOUT = """
Lanes reads these variables of the environment, and no file. An empty variable counts as unset. A variable that cannot be
read is named, with what to write. What is not set is the stand's own: Postgres, Prefect and the model endpoint of this
checkout.

`lanes up` takes them over; run it again after a change. `lanes doctor` says of each setting in one sentence whether it
works.
"""
PREFECTS = """
For a Prefect server of your own that asks who comes, Prefect's own two variables are heeded: `PREFECT_API_KEY` and
`PREFECT_API_AUTH_STRING`. For the stand's own server, Prefect's settings of servers are (`PREFECT_SERVER_...`; its address
and its database are the stand's): `PREFECT_SERVER_API_AUTH_STRING` (`USER:PASSWORD`) chooses its login in place of one that
Lanes makes, and `PREFECT_SERVER_CORS_ALLOWED_ORIGINS` lets in pages of other addresses, such as a proxy's. Secrets are kept
in blocks and in the environment, the login of the stand's Prefect in a file of its owner; they stand in no log, run or
artifact.
"""
BLOCKS = """
`lanes up` writes these blocks from the environment, so change there what has a variable. What has none you set in the
Prefect UI, under *Blocks*; runs that begin later use it. Of a provider block whose key the environment has, the next `lanes
up` keeps the account's name alone; without `ANTHROPIC_API_KEY` in the environment, one that you wrote stays as it is. The
block of type *Lanes workload* is [a page of its own](workload.md).
"""
OF_BLOCKS = {
    "Lanes database": DatabaseBlock,
    "Lanes provider": Provider,
    "Lanes Slack channel": SlackChannel,
    "Lanes playbook": PlaybookBlock,
}


def page() -> str:
    """Return the page."""
    said = _docstrings(Settings)
    rows = [
        (code(field.validation_alias), described(field), default(field), said[name])
        for name, field in Settings.model_fields.items()
    ]
    blocks = [
        f"### {name}\n\n{block._description}\n\n{_fields(block)}"
        for name, block in OF_BLOCKS.items()
    ]
    return document(
        "Settings",
        ABOUT,
        table(("variable", "kind", "default", "what it sets"), rows),
        PREFECTS,
        "## Blocks",
        BLOCKS,
        *blocks,
    )


def _docstrings(model: type) -> dict[str, str]:
    """Return the docstrings of fields. Pydantic could provide them, but it would read the source whenever a process starts."""
    (of_class,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(of_class, ast.ClassDef)
    return {
        ast.unparse(field.target): ast.literal_eval(said.value)
        for field, said in pairwise(of_class.body)
        if isinstance(field, ast.AnnAssign) and isinstance(said, ast.Expr)
    }


def _fields(block: type[DatabaseBlock | PlaybookBlock | Provider | SlackChannel]) -> str:
    own = {name: field.description or "" for name, field in block.model_fields.items()}
    return model_table(block, own)
