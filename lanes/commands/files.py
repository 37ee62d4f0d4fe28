"""Files that commands write."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Force = Annotated[bool, Parameter(negative="", help="Overwrite a file that is there.")]


def put(text: str, out: Path | None, *, force: bool) -> int:
    """The text is in the file, or on standard output. A file that is there is overwritten only by force."""
    if out is None:
        print(text, end="")
        return 0
    if out.exists() and not force and out.read_bytes() != text.encode():
        print(
            f'"{out}" is there already and says something else; --force overwrites it',
            file=sys.stderr,
        )
        return 1
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f'"{out}" cannot be written: {error.strerror}', file=sys.stderr)
        return 1
    return 0
