"""The site reads Markdown as others do: a list may follow its paragraph at once. A hook of mkdocs, named in mkdocs.yml."""

import re

BLOCKS = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
ITEM = r"(?:[-*] |\d+\. )"
PARAGRAPH_BEFORE_A_LIST = re.compile(rf"^(?!{ITEM}|[\s|])(.+)\n(?={ITEM})", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return the Markdown that is rendered."""
    return separated(markdown)


def separated(markdown: str) -> str:
    """Put a line between each paragraph and the list after it; blocks stay unchanged."""
    parts = BLOCKS.split(markdown)
    return "".join(
        part if number % 2 else PARAGRAPH_BEFORE_A_LIST.sub(r"\1\n\n", part)
        for number, part in enumerate(parts)
    )
