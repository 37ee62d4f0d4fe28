"""The meanings of an enumeration's members, from the comment that follows or precedes each member in the source."""

import inspect
import re
from enum import Enum

MEMBER = re.compile(r"^ {4}(?P<name>[A-Z0-9_]+) = [^#\n]+(?:  # (?P<behind>.+))?$")
# The formatter puts the value of a line that is too long in parentheses.
IN_PARENTHESES = re.compile(r"= \(\n +(?P<value>.+)\n +\)$", re.MULTILINE)
ABOVE = re.compile(r"^ {4}# (?P<said>.+)$")


def comments(words: type[Enum]) -> dict[str, str]:
    """Return the comments by member name; a comment above a member counts if none follows it on its line."""
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
