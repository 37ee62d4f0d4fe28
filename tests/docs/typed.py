"""`lanes` commands as a page has them, in blocks and as code, and whether the command line takes them."""

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
FILLED = "7"  # stands for a word that a reader replaces, be it a number or a name


def commands(text: str) -> Iterator[str]:
    """Each with its arguments, as they are typed after `lanes`."""
    joined = re.sub(r"\\\n\s*", " ", HEREDOC.sub("", text))
    for found in TYPED.finditer(joined):
        yield REDIRECT.sub("", found["rest"]).strip()


def refused(command: str, *, whole: bool = True) -> str | None:
    """Why the command line does not take it; None: it does. One that is not `whole` is spoken of, and may lack arguments."""
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
    """Without the brackets around what may be left out, and without what stands for all of it."""
    return command.replace("[options]", "").translate({ord("["): " ", ord("]"): " "})
