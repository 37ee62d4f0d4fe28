"""A check that the built site fetches nothing from the internet: it is complete from disk and behind a firewall."""

import re
import sys

from tests.docs.account import account
from tests.docs.blocks import CHECKOUT

SITE = CHECKOUT / "site"
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*?\bsrc=["']?(?P<source>(?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preconnect|preload|icon))[^>]*?\bhref=["']?(?P<sheet>(?:https?:)?//[^"'\s>]+)"""
)


def fetched(html: str) -> list[str]:
    """Return the addresses on other servers that a browser would fetch to show this page."""
    return [found["source"] or found["sheet"] for found in FETCHED.finditer(html)]


def main() -> int:
    """Return 0 if no page fetches anything, or 1 if a page does or there are no pages."""
    pages = sorted(SITE.rglob("*.html"))
    asked = [
        f"{page.relative_to(SITE)}: {address}"
        for page in pages
        for address in fetched(page.read_text())
    ]
    print(*asked, sep="\n", end="\n" if asked else "", file=sys.stderr)
    print(
        f"{len(pages)} pages: open {SITE / 'index.html'}, or with its search: python3 -m http.server -d {SITE.name}"
    )
    print(account().splitlines()[-1])
    return 1 if asked or not pages else 0


if __name__ == "__main__":
    sys.exit(main())
