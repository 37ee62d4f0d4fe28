"""A hook of mkdocs, named in mkdocs.yml: as in other renderers, a list may follow its paragraph without a blank line."""

import re

BLOCKS = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
ITEM = r"(?:[-*] |\d+\. )"
PARAGRAPH_BEFORE_A_LIST = re.compile(rf"^(?!{ITEM}|[\s|])(.+)\n(?={ITEM})", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return the Markdown for mkdocs to render."""
    return separated(markdown)


def separated(markdown: str) -> str:
    """Insert a blank line between each paragraph and the list after it; fenced blocks stay unchanged."""
    parts = BLOCKS.split(markdown)
    return "".join(
        part if number % 2 else PARAGRAPH_BEFORE_A_LIST.sub(r"\1\n\n", part)
        for number, part in enumerate(parts)
    )
