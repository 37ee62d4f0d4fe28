"""POST /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import orjson

from anthropic_standin.bill import Bill, Entry
from anthropic_standin.clock import EndpointClock
from anthropic_standin.composing import SPOILING, Composer
from anthropic_standin.engine import Engine
from anthropic_standin.errors import Dropped
from anthropic_standin.event_stream import events_of
from anthropic_standin.exchange import HttpAnswer, Request, json_answer
from anthropic_standin.faults import FaultRule, Faults
from anthropic_standin.limits import AccountLimits, EndpointSettings
from anthropic_standin.question import read_question
from anthropic_standin.runner import UrgentTraffic
from anthropic_standin.token_counts import count_prompt

MOST_BYTES = 32 * 1024 * 1024
STALL_LOOK_S = 0.02


class MessagesApi:
    """The API of Messages. It answers at once, and bills every response."""

    def __init__(  # noqa: PLR0913 (what all requests share)
        self,
        *,
        engine: Engine,
        composer: Composer,
        bill: Bill,
        faults: Faults,
        limits: AccountLimits,
        settings: EndpointSettings,
        traffic: UrgentTraffic,
        clock: EndpointClock,
    ) -> None:
        self._engine, self._composer, self._bill = engine, composer, bill
        self._faults, self._limits, self._settings, self._traffic = (
            faults,
            limits,
            settings,
            traffic,
        )
        self._clock = clock

    async def create(self, request: Request) -> HttpAnswer:
        """Return a message, or its event stream."""
        self._traffic.note()
        params = await request.json(MOST_BYTES)
        question = read_question(params)
        tokens = (
            (count_prompt(params), question.max_tokens) if self._limits.count_tokens else (0, 0)
        )
        charge = self._limits.admit(self._clock.now(), *tokens)
        began = self._composer.begins()
        faults = self._faults.take("messages", question.text)
        await self._suffer(faults, request)
        kinds = {rule.kind for rule in faults}
        answer = await self._engine.answer(question)
        now = self._clock.now()
        spoil = next(iter(kinds & SPOILING), None)
        message = self._composer.message(
            question, answer, processing="realtime", now=now, began=began, spoil=spoil
        )
        self._bill.note(Entry(message, "realtime", question.text, now))
        usage = message["usage"]
        self._limits.spend(
            charge,
            usage["input_tokens"] + usage["cache_creation_input_tokens"],
            usage["output_tokens"],
        )
        if "drop" in kinds:
            raise Dropped
        pieces = list(events_of(message)) if question.stream else [orjson.dumps(message)]
        if "cut" in kinds:
            whole = b"".join(pieces)
            return _streamed(_then_cut([whole[: len(whole) // 2]]), stream=question.stream)
        if question.stream:
            return _streamed(_each(pieces), stream=True)
        return HttpAnswer(body=pieces[0])

    async def count(self, request: Request) -> HttpAnswer:
        """Return the input tokens that a request would be charged for; the count itself is not billed."""
        params = await request.json(MOST_BYTES)
        question = read_question(
            {"max_tokens": 1, **params} if isinstance(params, dict) else params
        )
        return json_answer({"input_tokens": count_prompt(question.params)})

    async def _suffer(self, faults: list[FaultRule], request: Request) -> None:
        """Wait for the delay of the rules and settings; ApiError if a rule demands one."""
        delay = self._settings.latency_s + sum(rule.latency_s for rule in faults)
        if delay:
            await asyncio.sleep(delay)
        for rule in faults:
            if rule.kind == "status":
                raise rule.error()
            if rule.kind == "stall":
                await self._stall(request)

    async def _stall(self, request: Request) -> None:
        """Wait until the rules are cleared; Dropped if the client closes the connection first."""
        generation = self._faults.generation
        while self._faults.generation == generation:
            if request.gone():
                break
            await asyncio.sleep(STALL_LOOK_S)
        if request.gone():
            raise Dropped


def _streamed(chunks: AsyncIterator[bytes], *, stream: bool) -> HttpAnswer:
    kind = b"text/event-stream; charset=utf-8" if stream else b"application/json"
    return HttpAnswer(content_type=kind, chunks=chunks)


async def _each(pieces: Iterable[Any]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _then_cut(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    raise Dropped
