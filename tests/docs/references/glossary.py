"""What the members of an enumeration say of themselves: the comment behind each, as a person wrote it."""

import inspect
import re
from enum import Enum

MEMBER = re.compile(r"^ {4}(?P<name>[A-Z0-9_]+) = [^#\n]+(?:  # (?P<behind>.+))?$")
IN_PARENTHESES = re.compile(
    r"= \(\n +(?P<value>.+)\n +\)$", re.MULTILINE
)  # a line that was too long
ABOVE = re.compile(r"^ {4}# (?P<said>.+)$")


def comments(words: type[Enum]) -> dict[str, str]:
    """By name; a comment above a member counts where none stands behind it."""
    said, above = dict[str, str](), ""
    for line in IN_PARENTHESES.sub(r"= \g<value>", inspect.getsource(words)).splitlines():
        if found := ABOVE.match(line):
            above = f"{above} {found['said']}".strip()
        elif found := MEMBER.match(line):
            said[found["name"]] = found["behind"] or above
            above = ""
        else:
            above = ""
    return said
