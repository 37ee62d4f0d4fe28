"""The fenced blocks of a page, and the pages there are."""

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
OWN = frozenset({"Postgres", "Prefect", "key", "Slack"})  # what only a reader has
TESTED_BY_ITSELF = "the sample run and the tests themselves"  # of `make run` (`tests/e2e/test_main_job.py`) and `make test`


@dataclass(frozen=True)
class FencedBlock:
    """A fenced block, and where it stands; `not_run` is the reason that its page gives for that."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None = None

    @property
    def is_run(self) -> bool:
        """Whether a reader is to run it here."""
        return self.language in RUN and self.not_run is None

    @property
    def may_be_left_out(self) -> bool:
        """Whether its reason is one of those that count: it needs something of the reader's own, or is what runs the tests."""
        own, _, needed = (self.not_run or "").partition(" ")
        return self.not_run == TESTED_BY_ITSELF or (
            own == "own" and set(re.split(r", | and ", needed)) <= OWN
        )

    def __str__(self) -> str:
        """Where it stands."""
        return f"{self.page}, line {self.line}"


def blocks(page: Path) -> Iterator[FencedBlock]:
    """Those of a page, in their order."""
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
    """Return a page's name within the checkout."""
    return page.relative_to(CHECKOUT).as_posix()


def docs() -> list[Path]:
    """Every page of the site."""
    return sorted(DOCS.rglob("*.md"))


def around() -> list[Path]:
    """Return the pages of the checkout itself, without the changelog."""
    return sorted(page for page in CHECKOUT.glob("*.md") if page.name != "CHANGELOG.md")


def to_run(page: Path) -> list[FencedBlock]:
    """Those of its blocks that a reader is to run here, in their order."""
    return [each for each in blocks(page) if each.is_run]


def table(page: str, *, headed: str) -> list[list[str]]:
    """The cells of the table of a page whose heading row begins with that cell."""
    lines = (DOCS / page).read_text().splitlines()
    found = lines[
        lines.index(next(each for each in lines if each.startswith(f"| {headed} |"))) + 2 :
    ]
    rows = found[: next(number for number, each in enumerate(found) if not each.startswith("|"))]
    return [[cell.strip().strip("`") for cell in row.strip("|").split(" | ")] for row in rows]
