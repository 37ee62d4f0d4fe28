"""Regular expressions of rules and schemas: one engine, which takes linear time, and a limit on how large a pattern becomes."""

from functools import lru_cache
from typing import Any

import jsonschema_rs

# Sizes of a compiled pattern; each character of a text may be compared with all of it.
KIBIBYTES = tuple(2**power for power in range(7))
MOST_KIB = KIBIBYTES[-1]


class CompiledPattern:
    """A pattern that is searched for in texts; `kib` bounds its compiled size.

    Raises:
        ValueError: the engine does not take it; the message says why, and what to write instead.
    """

    def __init__(self, text: str) -> None:
        for self.kib in KIBIBYTES:
            try:
                self._check = _validator(
                    text, jsonschema_rs.RegexOptions(size_limit=self.kib * 1024)
                )
            except ValueError:
                continue
            return
        raise ValueError(_why_not(text))

    def is_in(self, text: str) -> bool:
        """Return whether the pattern matches anywhere in a text."""
        return self._check.is_valid(text)


pattern = lru_cache(maxsize=1024)(CompiledPattern)


def schema_validator(schema: Any) -> "jsonschema_rs.Draft202012Validator":
    """Return a validator that asks the network for nothing and matches patterns in linear time.

    Raises:
        ValueError: the schema refers beyond itself, or holds a pattern that the engine does not take.
    """
    options = jsonschema_rs.RegexOptions(size_limit=MOST_KIB * 1024)
    return jsonschema_rs.Draft202012Validator(schema, offline=True, pattern_options=options)


def _validator(text: str, options: Any) -> "jsonschema_rs.Draft202012Validator":
    return jsonschema_rs.Draft202012Validator(
        {"pattern": text}, offline=True, pattern_options=options
    )


def _why_not(text: str) -> str:
    """Say why no linear pattern of a permitted size comes of a text."""
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    if _compiles(text, jsonschema_rs.RegexOptions()):
        return f'the pattern "{shown}" compiles to more than {MOST_KIB} KiB; use smaller repetitions and fewer Unicode classes'
    if _compiles(text, jsonschema_rs.FancyRegexOptions()):
        return f'the pattern "{shown}" looks around or refers back, which takes exponential time; write it without'
    return f'the pattern "{shown}" is not a regular expression that the engine reads (syntax: Rust regex)'


def _compiles(text: str, options: Any) -> bool:
    try:
        _validator(text, options)
    except ValueError:
        return False
    return True
