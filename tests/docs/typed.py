"""`lanes` commands on a page, in blocks and in inline code, and whether the command line accepts them."""

import re
import shlex
from collections.abc import Iterator

from cyclopts import CycloptsError, MissingArgumentError

from lanes.cli import app

BEFORE = r"(?:^|[;&|(]\s*|\b(?:until|while|if|do|then|else)\s+)"
QUOTED = r"""\"[^"\n]*"|'[^'\n]*'"""
TYPED = re.compile(
    rf"{BEFORE}(?:\.venv/bin/)?lanes (?P<rest>[a-z](?:{QUOTED}|[^|;&)`\n])*)", re.MULTILINE
)
HEREDOC = re.compile(r"<<'(?P<word>\w+)'.*?^(?P=word)$", re.DOTALL | re.MULTILINE)
REDIRECT = re.compile(r"\s[12]?>+\s*\S+")
PLACE = re.compile(r"[A-Z][A-Z_]*")
FILLED = "7"  # replaces a placeholder; valid both as a number and as a name


def commands(text: str) -> Iterator[str]:
    """Yield each command with its arguments, as a reader types them after `lanes`."""
    joined = re.sub(r"\\\n\s*", " ", HEREDOC.sub("", text))
    for found in TYPED.finditer(joined):
        yield REDIRECT.sub("", found["rest"]).strip()


def refused(command: str, *, whole: bool = True) -> str | None:
    """Return why the command line rejects the command, or None if it accepts it.

    A command that is not `whole` is only mentioned in the text, and may lack arguments.
    """
    try:
        name, *arguments = shlex.split(command if whole else _spelt_out(command), comments=True)
    except ValueError as error:
        return str(error)
    if name not in app or name.startswith("-"):
        return "there is no such command"
    filled = [FILLED if PLACE.fullmatch(each) else each for each in arguments]
    try:
        app.parse_args([name, *filled], print_error=False, exit_on_error=False)
    except MissingArgumentError as error:
        return str(error) if whole else None
    except CycloptsError as error:
        return str(error)
    return None


def _spelt_out(command: str) -> str:
    """Return the command without `[options]`, and without the brackets around optional arguments."""
    return command.replace("[options]", "").translate({ord("["): " ", ord("]"): " "})
