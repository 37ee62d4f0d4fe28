"""The stand-in as one ASGI application: its parts, its routes, and the common headers of its answers."""

from __future__ import annotations

import logging
import re
from email.utils import formatdate
from pathlib import Path
from typing import Any

from anthropic_standin.batch_store import BatchStore
from anthropic_standin.batches_api import BatchesApi
from anthropic_standin.bill import Bill
from anthropic_standin.catalogue import ENGINE_WORDS, MODELS, describe, known_model
from anthropic_standin.clock import EndpointClock
from anthropic_standin.composing import Composer
from anthropic_standin.conformance import seed
from anthropic_standin.control_api import ControlApi
from anthropic_standin.database import EndpointDatabase
from anthropic_standin.engine import Engine
from anthropic_standin.errors import ApiError, Dropped
from anthropic_standin.exchange import (
    HttpAnswer,
    Receive,
    Request,
    Scope,
    Send,
    error_answer,
    json_answer,
)
from anthropic_standin.faults import Faults
from anthropic_standin.limits import AccountLimits, EndpointSettings
from anthropic_standin.messages_api import MessagesApi
from anthropic_standin.organization_api import ROOT, OrganizationApi
from anthropic_standin.paging import page_of, read_cursor
from anthropic_standin.prompt_cache import PromptCache
from anthropic_standin.runner import Runner, UrgentTraffic
from anthropic_standin.wire import new_id

logger = logging.getLogger(__name__)
_BATCH = re.compile(r"/v1/messages/batches(?:/([^/]+)(?:/(results|cancel))?)?")
_MODEL = re.compile(r"/v1/models(?:/([^/]+))?")


def has_key(request: Request) -> bool:
    """Return whether the request has a key of any value.

    It is sent as `x-api-key`, or as a bearer token, which the SDK has used since 2.13.
    """
    return bool(
        request.header(b"x-api-key")
        or request.header(b"authorization").removeprefix(b"Bearer").strip()
    )


class App:
    """A whole stand-in; `home` contains its file. `close` writes the remaining data to disk."""

    def __init__(
        self,
        *,
        home: Path,
        engine: Engine,
        settings: EndpointSettings,
        conformance: bool = False,
        clock: EndpointClock | None = None,
    ) -> None:
        self.engine_name, self._clock = engine.name, clock or EndpointClock(settings)
        self._database = EndpointDatabase(home / "endpoint.db")
        self._limits, faults, traffic = AccountLimits(settings), Faults(), UrgentTraffic()
        self._bill = Bill(self._database)
        store, composer = BatchStore(self._database), Composer(PromptCache())
        if conformance:
            seed(store, self._clock.now())
        self._runner = Runner(
            store=store,
            engine=engine,
            composer=composer,
            faults=faults,
            settings=settings,
            traffic=traffic,
            clock=self._clock,
        )
        self._messages = MessagesApi(
            engine=engine,
            composer=composer,
            bill=self._bill,
            faults=faults,
            limits=self._limits,
            settings=settings,
            traffic=traffic,
            clock=self._clock,
        )
        self._batches = BatchesApi(
            store=store,
            runner=self._runner,
            faults=faults,
            clock=self._clock,
            conformance=conformance,
        )
        self._control = ControlApi(
            faults=faults,
            settings=settings,
            bill=self._bill,
            runner=self._runner,
            limits=self._limits,
        )
        self._organization = OrganizationApi(bill=self._bill, faults=faults)
        self._models = [describe(model, engine.name) for model in MODELS.values()]
        self._runner.start()

    def close(self) -> None:
        """Pause the batch work, write the bill to disk, and close the file."""
        self._runner.close()
        self._bill.close()
        self._database.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        request_id = new_id("req")
        try:
            answer = await self._answer(request, request_id)
            answer.headers.append((b"request-id", request_id.encode()))
            answer.headers.append((b"date", formatdate(self._clock.now(), usegmt=True).encode()))
            if not request.path.startswith("/_"):
                answer.headers.extend(self._limits.headers(self._clock.now()))
            await answer.send(send)
        except Dropped:
            await request.hang_up()

    async def _answer(self, request: Request, request_id: str) -> HttpAnswer:
        try:
            return await self._route(request)
        except ApiError as error:
            return error_answer(error, request_id)
        except Dropped:
            raise
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            return error_answer(ApiError(500, "Internal error of the local stand-in"), request_id)

    async def _route(self, request: Request) -> HttpAnswer:
        path, method = request.path, request.method
        if path == "/healthz":
            return json_answer(self._health())
        if path.startswith("/_control/"):
            return await self._control.handle(request)
        if not has_key(request):
            raise ApiError(401, "x-api-key header is required")
        if path == "/v1/messages" and method == "POST":
            return await self._messages.create(request)
        if path == "/v1/messages/count_tokens" and method == "POST":
            return await self._messages.count(request)
        if (batch := _BATCH.fullmatch(path)) is not None:
            return await self._batch(request, batch[1], batch[2])
        if path.startswith(ROOT) and method == "GET":
            return await self._organization.handle(request)
        if (model := _MODEL.fullmatch(path)) is not None and method == "GET":
            return self._model(request, model[1])
        raise ApiError(404, f"There is no {method} {path} here")

    async def _batch(self, request: Request, id: str | None, part: str | None) -> HttpAnswer:
        match request.method, id, part:
            case "POST", None, None:
                return await self._batches.create(request)
            case "GET", None, None:
                return await self._batches.list(request)
            case "GET", str(), None:
                return await self._batches.retrieve(request, id)
            case "DELETE", str(), None:
                return await self._batches.delete(request, id)
            case "POST", str(), "cancel":
                return await self._batches.cancel(request, id)
            case "GET", str(), "results":
                return await self._batches.results(request, id)
        raise ApiError(
            405, f"{request.method} is not allowed on {request.path}", kind="invalid_request_error"
        )

    def _model(self, request: Request, name: str | None) -> HttpAnswer:
        if name is None:
            return json_answer(page_of(self._models, read_cursor(request.query)))
        return json_answer(describe(known_model(name), self.engine_name))

    def _health(self) -> dict[str, Any]:
        words = ENGINE_WORDS[self.engine_name]
        return {"ok": True, "engine": self.engine_name, "what": f"local stand-in ({words})"}
