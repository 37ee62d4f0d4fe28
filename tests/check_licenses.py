"""A check that every installed distribution has a licence of the allow-list, or an exception with its reason (`make check`)."""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import Distribution, distributions

ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CNRI-Python",
    "ISC",
    "MIT",
    "MIT-0",
    "PSF-2.0",
    "Zlib",
}
OURS = {"lanes", "anthropic-standin"}  # their licence is the owner's choice
UNCHANGED = (
    "used as it is published, unmodified and replaceable: its terms reach its own files only"
)
# The reason for each exception, by (distribution, licence). It covers no other licence of the same distribution.
EXCEPTIONS = {
    (
        "codespell",
        "GPL-2.0-only",
    ): "checks spelling in `make check`; nothing imports it, and nothing of it is shipped",
    ("psycopg", "LGPL-3.0-only"): UNCHANGED,
    ("psycopg-binary", "LGPL-3.0-only"): UNCHANGED,
    ("psycopg-pool", "LGPL-3.0-only"): UNCHANGED,
    ("certifi", "MPL-2.0"): UNCHANGED,
    ("orjson", "MPL-2.0"): UNCHANGED,
    ("pathspec", "MPL-2.0"): UNCHANGED,
    ("hypothesis", "MPL-2.0"): "runs the tests only, and nothing of it is shipped",
    (
        "text-unidecode",
        "Artistic-1.0-Perl",
    ): "comes with Prefect; of its two licences we take the Artistic one",
}
# Licence names in distributions' metadata that are no SPDX identifiers.
SPOKEN = {
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Artistic License": "Artistic-1.0-Perl",
    "GNU General Public License (GPL)": "GPL-2.0-or-later",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
}
NOT_A_LICENSE = {"DFSG approved", "OSI Approved"}
TOKEN = re.compile(r"[()]|[\w.+-]+")


def expression(of: Distribution) -> str:
    """Return the licence as an SPDX expression: its own, else from its classifiers, else from the short field, else ""."""
    stated, *_ = _all(of, "License-Expression") or [""]
    if stated:
        return stated
    named = [
        each.rpartition(" :: ")[2]
        for each in _all(of, "Classifier")
        if each.startswith("License ::")
    ]
    if known := [SPOKEN.get(each, each) for each in named if each not in NOT_A_LICENSE]:
        return " OR ".join(dict.fromkeys(each.replace(" ", "-") for each in known))
    field = "".join(_all(of, "License")).strip()
    return SPOKEN.get(field, field if "\n" not in field else "")


def _all(of: Distribution, field: str) -> list[str]:
    return [str(each) for each in of.metadata.get_all(field) or []]


def is_fine(stated: str, allows: Callable[[str], bool]) -> bool:
    """Return whether an SPDX expression is allowed: every part of an AND, one part of an OR. Invalid expressions are not."""
    tokens = TOKEN.findall(stated)

    def either() -> bool:
        found = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            found = both() or found
        return found

    def both() -> bool:
        found = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            found = one() and found
        return found

    def one() -> bool:
        if not tokens:
            return False
        token = tokens.pop(0)
        if token != "(":
            return allows(token)
        found = either()
        return bool(tokens) and tokens.pop(0) == ")" and found

    return either() and not tokens


def problems(installed: Iterable[Distribution]) -> list[str]:
    """Return a sentence for each distribution whose licence is neither allowed nor an exception."""
    found: list[str] = []
    for each in installed:
        name = each.metadata["Name"].replace("_", "-").lower()
        stated = expression(each)

        def allows(license_: str, name: str = name) -> bool:
            return license_ in ALLOWED or (name, license_) in EXCEPTIONS

        if name not in OURS and not is_fine(stated, allows):
            found.append(
                f"{name} {each.version}: {stated or 'no licence is stated'}; allow it, or add an exception"
            )
    return sorted(found)


def main() -> int:
    found: Sequence[str] = problems(distributions())
    print("\n".join(found) or "licences: each is allowed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
