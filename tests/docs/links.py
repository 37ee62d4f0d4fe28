"""The references on a page: links with anchors, and paths, make targets, variables and relations in inline code."""

import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import yaml

from lanes.settings import Settings
from lanes.store.current.files import sql_files
from lanes.store.tables import metadata
from tests.docs.blocks import CHECKOUT, FENCE, without_blocks

LINK = re.compile(r"!?\[[^\]]*\]\((?P<to>[^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (?P<title>.+?)\s*$", re.MULTILINE)
CODE = re.compile(r"`(?P<code>[^`\n]+)`")
PATH = re.compile(r"\.?[\w-]+(?:/[\w.*-]+)+/?")
RELATION = re.compile(r"\blanes\.(?P<name>[a-z_]+)(?![\w.])")
VARIABLE = re.compile(r"\b(?:LANES|SLACK|ANTHROPIC)_[A-Z_]+")
SPOKEN_OF = re.compile(
    r"\b[Dd]eployments? `(?P<deployment>[^`]+)`|\b[Vv]iews? (?:\[)?`(?P<view>[^`]+)`"
)
TARGET = re.compile(r"\bmake (?P<name>[a-z][a-z-]*)")
MODULE = re.compile(r"\bpython3? -m (?P<name>[\w.]+)")
PROGRAM = re.compile(r"\.venv/bin/(?P<name>[\w-]+)")
BENCHMARK = re.compile(r"\bmake bench NAME=(?P<names>[a-z|]+)")
OUTSIDE = ("http://", "https://", "mailto:")
MADE_LATER = (".lanes/", ".venv/", "site/")  # created by commands


def links(page: Path) -> Iterator[str]:
    """Yield the targets of the page's links."""
    text = FENCE.sub("", page.read_text())
    yield from (found["to"] for found in LINK.finditer(CODE.sub("", text)))
    yield from (found["to"] for found in re.finditer(r"\[`[^`]+`\]\((?P<to>[^)\s]+)\)", text))


def broken(page: Path, to: str) -> str | None:
    """Return the problem of a link, or None; links to other servers are not checked."""
    if to.startswith(OUTSIDE):
        return None
    path, _, anchor = to.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return "there is no such file"
    if (
        "docs" in page.relative_to(CHECKOUT).parts
        and "docs" not in target.relative_to(CHECKOUT).parts
    ):
        return "it leads out of the site"
    if anchor and anchor not in anchors(target):
        return f"there is no heading of that name; there are {', '.join(sorted(anchors(target)))}"
    return None


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page's headings."""
    return frozenset(
        slug(found["title"]) for found in HEADING.finditer(FENCE.sub("", page.read_text()))
    )


def slug(title: str) -> str:
    """Return the anchor of a heading, as the site generates it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
    kept = re.sub(
        r"[^\w\s-]", "", unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    )
    return re.sub(r"[-\s]+", "-", kept.strip().lower())


def codes(page: Path) -> list[str]:
    """Return the inline code of a page."""
    return [found["code"] for found in CODE.finditer(without_blocks(page.read_text()))]


def missing(page: Path) -> list[str]:
    """Return the names in inline code that do not exist."""
    named = [f"{code}: {what}" for code in codes(page) for what in _missing(page, code)]
    for found in SPOKEN_OF.finditer(without_blocks(page.read_text())):
        if found["deployment"] and found["deployment"] not in _deployments():
            named.append(f"no deployment {found['deployment']}")
        if found["view"] and found["view"].removeprefix("lanes.") not in _relations():
            named.append(f"no view {found['view']}")
    return named


def _missing(page: Path, code: str) -> Iterator[str]:
    if PATH.fullmatch(code) and _is_ours(code) and not any(_places(page, code)):
        yield "no such file"
    yield from (
        f"no variable {name}"
        for name in VARIABLE.findall(code)
        if name.rstrip("_") not in _variables()
    )
    yield from (
        f"no relation, function or module lanes.{name}"
        for name in RELATION.findall(code)
        if name not in _relations()
    )
    yield from (f"no target {name}" for name in TARGET.findall(code) if name not in targets())
    yield from (f"no module {name}" for name in MODULE.findall(code) if find_spec(name) is None)
    yield from (
        f"no program {name}"
        for name in PROGRAM.findall(code)
        if not (Path(sys.executable).parent / name).exists()
    )
    asked = {name for names in BENCHMARK.findall(code) for name in names.split("|")}
    yield from (
        f"no benchmark {name}"
        for name in sorted(asked)
        if find_spec(f"tests.benchmarks.bench_{name}") is None
    )


def _is_ours(code: str) -> bool:
    first = code.partition("/")[0]
    return (CHECKOUT / first).is_dir() and not code.startswith(MADE_LATER)


def _places(page: Path, code: str) -> Iterator[bool]:
    for base in (CHECKOUT, page.parent):
        yield any(base.glob(code.rstrip("/")))


@cache
def targets() -> frozenset[str]:
    """Return the targets of the Makefile."""
    return frozenset(
        re.findall(r"^([a-z][a-z-]*):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    )


@cache
def _deployments() -> frozenset[str]:
    return frozenset(
        each["name"]
        for each in yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
    )


@cache
def _variables() -> frozenset[str]:
    return frozenset(str(field.validation_alias) for field in Settings.model_fields.values())


@cache
def _relations() -> frozenset[str]:
    modules = {
        each.stem
        for each in (CHECKOUT / "lanes").iterdir()
        if each.suffix == ".py" or each.is_dir()
    }
    return frozenset(
        {each.name for each in sql_files()}
        | {each.name for each in metadata.tables.values()}
        | modules
    )
