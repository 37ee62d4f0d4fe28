"""The links that a person can follow from a Slack message, and checks that their pages and objects exist."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.running_stand import RunningStand
from tests.slack_standin import PostedMessage, rich_texts

MARKDOWN_LINK = re.compile(r"\[([^]]+)\]\((/[^)\s]+)\)")
THINGS = {  # the API path of each page's object
    "/v2/runs/flow-run/{}": "flow_runs/{}",
    "/v2/artifacts/artifact/{}": "artifacts/{}",
    "/v2/artifacts/key/{}": "artifacts/{}/latest",
    "/v2/blocks/block/{}/edit": "block_documents/{}",
    "/v2/deployments/deployment/{}/run": "deployments/{}",
    "/v2/work-pools/work-pool/{}": "work_pools/{}",
}
AS_A_BROWSER = {"Accept": "text/html"}  # other clients receive a 404
LISTS = ("/v2/events", "/v2/runs", "/v2/blocks")


class Link(NamedTuple):
    """A link: its label and its address."""

    label: str
    url: str

    @property
    def path(self) -> str:
        """The path of the address, without the query."""
        return urlsplit(self.url).path


def buttons(said: PostedMessage) -> list[Link]:
    """Return the buttons of a message."""
    rows = (block["elements"] for block in said.blocks if block["type"] == "actions")
    return [Link(each["text"]["text"], each["url"]) for row in rows for each in row]


def commands(said: PostedMessage) -> list[list[str]]:
    """Return the commands of a message, split into words."""
    parts = [
        part for block in said.blocks if block["type"] == "rich_text" for part in block["elements"]
    ]
    lines = [
        line
        for part in parts
        if part["type"] == "rich_text_preformatted"
        for line in rich_texts(part)
    ]
    return [shlex.split(each, comments=True) for line in lines for each in line.splitlines()]


def links(stand: RunningStand, markdown: str) -> list[Link]:
    """Return the links of a Markdown page of ours in Prefect's UI."""
    return [
        Link(label, stand.info.ui_url + path) for label, path in MARKDOWN_LINK.findall(markdown)
    ]


def reads(markdown: str) -> str:
    """Return the visible text of a page, without the backslashes that escape markup."""
    return re.sub(r"\\(.)", r"\1", markdown)


def thing(stand: RunningStand, link: Link) -> Mapping[str, Any] | None:
    """Return the object of a link, as Prefect's API describes it, or None for a list.

    Raises:
        AssertionError: the page or the object does not exist, or the form lacks a filled-in field.
    """
    assert stand.prefect.get(link.url, headers=AS_A_BROWSER).status_code == 200, link
    asked = [
        there.format(found[1])
        for page, there in THINGS.items()
        if (found := _matched(page, link.path))
    ]
    if not asked:
        assert link.path in LISTS, link
        return None
    answer = stand.prefect.get(asked[0])
    assert answer.status_code == 200, (link, answer.text)
    found = answer.json()
    assert set(_names(filled_in(link))) <= set(_names(found.get("parameter_openapi_schema", {}))), (
        link
    )
    return found


def filled_in(link: Link) -> dict[str, Any]:
    """Return the parameters in a link to a form."""
    given = parse_qs(urlsplit(link.url).query).get("parameters", ["{}"])[0]
    return json.loads(given) if link.path.endswith("/run") else {}


def _matched(page: str, path: str) -> re.Match[str] | None:
    return re.fullmatch(re.escape(page).replace(r"\{\}", "([^/]+)"), path)


def _names(of: Any) -> Iterator[str]:
    """Yield every key in nested mappings."""
    if isinstance(of, Mapping):
        for name, value in of.items():
            yield name
            yield from _names(value)
