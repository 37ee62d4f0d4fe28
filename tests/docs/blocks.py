"""The fenced blocks of a page, and the lists of pages."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DOCS = CHECKOUT / "docs"
FENCE = re.compile(
    r"^(?P<fence>```+)(?P<language>[\w-]*)\n(?P<text>.*?)^(?P=fence)$", re.DOTALL | re.MULTILINE
)
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+?) -->\n\Z")
RUN = ("bash", "python", "sql")
SHOWN = ("yaml", "json", "text", "console")
OWN = frozenset({"Postgres", "Prefect", "key", "Slack"})  # only a reader has these
# `make run` (`tests/e2e/test_main_job.py`) and `make test`
TESTED_BY_ITSELF = "the sample run and the tests themselves"


@dataclass(frozen=True)
class FencedBlock:
    """A fenced block and its position; `not_run` is the page's reason for not running it."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None = None

    @property
    def is_run(self) -> bool:
        """Whether a reader is to run the block here."""
        return self.language in RUN and self.not_run is None

    @property
    def may_be_left_out(self) -> bool:
        """Whether the reason is a valid one: the block needs something of the reader's own, or runs the tests themselves."""
        own, _, needed = (self.not_run or "").partition(" ")
        return self.not_run == TESTED_BY_ITSELF or (
            own == "own" and set(re.split(r", | and ", needed)) <= OWN
        )

    def __str__(self) -> str:
        """Return the block's position."""
        return f"{self.page}, line {self.line}"


def blocks(page: Path) -> Iterator[FencedBlock]:
    """Yield the blocks of a page in order."""
    text = page.read_text()
    for found in FENCE.finditer(text):
        reason = NOT_RUN.search(text[: found.start()])
        line = text.count("\n", 0, found.start()) + 1
        yield FencedBlock(
            named(page), line, found["language"], found["text"], reason and reason["reason"]
        )


def without_blocks(text: str) -> str:
    """Return a page's text without its blocks and comments."""
    return re.sub(r"<!--.*?-->", "", FENCE.sub("", text), flags=re.DOTALL)


def named(page: Path) -> str:
    """Return a page's path within the checkout."""
    return page.relative_to(CHECKOUT).as_posix()


def docs() -> list[Path]:
    """Return every page of the site."""
    return sorted(DOCS.rglob("*.md"))


def around() -> list[Path]:
    """Return the pages at the root of the checkout, without the changelog."""
    return sorted(page for page in CHECKOUT.glob("*.md") if page.name != "CHANGELOG.md")


def to_run(page: Path) -> list[FencedBlock]:
    """Return the page's blocks that a reader is to run here, in order."""
    return [each for each in blocks(page) if each.is_run]


def table(page: str, *, headed: str) -> list[list[str]]:
    """Return the cells of the page's table whose heading row begins with the cell `headed`."""
    lines = (DOCS / page).read_text().splitlines()
    found = lines[
        lines.index(next(each for each in lines if each.startswith(f"| {headed} |"))) + 2 :
    ]
    rows = found[: next(number for number, each in enumerate(found) if not each.startswith("|"))]
    return [[cell.strip().strip("`") for cell in row.strip("|").split(" | ")] for row in rows]
