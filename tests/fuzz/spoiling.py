"""Hostile answers of the provider in place of the honest ones, made at random from values that Hypothesis drew."""

import copy
import json
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from anthropic_standin.exchange import Receive, Scope, Send
from anthropic_standin.serving import Application
from tests.fuzz.drawing import drawn
from tests.hostile.answers import FIELDS, KINDS, MODEL, odd_values, usages, written

Spoil = Callable[
    [str, dict[str, Any]], bytes | None
]  # returns the replacement of a message or line; None keeps the honest one
TEXTS = [
    '{"category": "a"}',
    '{"category": "z"}',
    '{"answers": []}',
    "",
    "null",
    "{",
    '{"category": "a", "note": "\\u0000"}',
]
ENDS = ["errored", "canceled", "expired", "succeeded", "unheard", ""]
NAMED = "custom_id"


class HostileAnswers:
    """A maker of hostile messages and lines of results from honest ones."""

    def __init__(self, seed: int, chance: random.Random, *, fragments: int) -> None:
        self._random = chance
        self._values = drawn(odd_values, 3 * fragments, seed)
        self._usages = drawn(usages(), fragments, seed)

    def message(self, honest: Mapping[str, Any]) -> bytes:
        """Return a hostile replacement of a message."""
        return _cut(
            written(self._message(honest)), self._random.randint(0, 39), self._random.random()
        )

    def line(self, honest: Mapping[str, Any]) -> bytes:
        """Return a hostile replacement of a line of results; it names its request, or it could stand for any line."""
        message = honest["result"]["message"]
        match self._random.randint(0, 11):
            case 0:
                result: Any = {"type": "errored", "error": self._value()}
            case 1:
                fault = {"type": self._value(), "message": self._value(), "details": self._value()}
                result = {"type": "errored", "error": {"type": "error", "error": fault}}
            case 2:
                result = {"type": self._random.choice(ENDS), "message": self._message(message)}
            case 3:
                result = self._value()
            case _:
                result = {"type": "succeeded", "message": self._message(message)}
        line = written({NAMED: honest[NAMED], "result": result})
        named = len(json.dumps({NAMED: honest[NAMED]}))
        return line[:named] + _cut(line[named:], self._random.randint(0, 19), self._random.random())

    def _message(self, honest: Mapping[str, Any]) -> Any:
        said = copy.deepcopy(dict(honest))
        match self._random.randint(0, 9):
            case 0:
                return self._value()
            case 1 | 2:
                return self._random.choice([*KINDS.values()]).spoil(said)
            case 3 | 4:
                return said | {"usage": self._random.choice(self._usages)}
            case 5:
                text = self._random.choice(TEXTS)
                return said | {
                    "content": [{"type": "text", "text": text}],
                    "model": self._random.choice([MODEL, "claude-x"]),
                }
            case _:
                for _ in range(self._random.randint(1, 3)):
                    self._place(said, self._random.choice([*FIELDS.values()])[0])
                return said

    def _place(self, said: dict[str, Any], path: tuple[str | int, ...]) -> None:
        """Put a hostile value at a path of the message, if that path still exists."""
        at: Any = said
        with suppress(LookupError, TypeError):
            for step in path[:-1]:
                at = at[step]
            at[path[-1]] = self._value()

    def _value(self) -> Any:
        return copy.deepcopy(self._random.choice(self._values))


def _cut(said: bytes, chance: int, share: float) -> bytes:
    """Return the bytes, or only their beginning when `chance` is 0."""
    return said[: int(share * len(said))] if chance == 0 else said


class Spoiling:
    """A wrapper of the provider's stand-in that replaces some of its answers after the stand-in has billed the honest ones.

    `billed` maps the text of a call, or the `custom_id` of a request, to the id of the honest message.
    """

    def __init__(self) -> None:
        self.spoil: Spoil = lambda _, __: None
        self.billed: dict[str, str] = {}

    def around(self, app: Application) -> Application:
        """Return the stand-in, wrapped so that its answers pass through this object."""

        async def asked(scope: Scope, receive: Receive, send: Send) -> None:
            path = scope.get("path", "")
            if scope["type"] != "http" or not (path == "/v1/messages" or path.endswith("/results")):
                await app(scope, receive, send)
                return
            body = await _whole(receive)
            sent, answer = False, _Answer()

            async def again() -> Mapping[str, Any]:
                nonlocal sent
                if sent:
                    return await receive()
                sent = True
                return {"type": "http.request", "body": body}

            await app(scope, again, answer.take)
            said = self._call(body, answer) if path == "/v1/messages" else self._results(answer)
            await answer.give(said, send)

        return asked

    def _call(self, body: bytes, answer: "_Answer") -> bytes:
        if answer.status != 200:
            return answer.body
        text, honest = json.loads(body)["messages"][0]["content"], json.loads(answer.body)
        self.billed[text] = honest["id"]
        return self.spoil(text, honest) or answer.body

    def _results(self, answer: "_Answer") -> bytes:
        if answer.status != 200:
            return answer.body
        said: list[bytes] = []
        for line in answer.body.splitlines():
            honest = json.loads(line)
            self.billed[honest[NAMED]] = honest["result"]["message"]["id"]
            said.append(self.spoil(honest[NAMED], honest) or line)
        return b"".join(line + b"\n" for line in said)


class _Answer:
    """An answer of the honest stand-in."""

    def __init__(self) -> None:
        self.body, self.status = b"", 0
        self._start: dict[str, Any] = {}

    async def take(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            self._start, self.status = dict(event), event["status"]
        else:
            self.body += event.get("body", b"")

    async def give(self, body: bytes, send: Send) -> None:
        lengthless = [
            header for header in self._start["headers"] if header[0].lower() != b"content-length"
        ]
        await send(self._start | {"headers": [*lengthless, (b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


async def _whole(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        event = await receive()
        body, more = body + event.get("body", b""), event.get("more_body", False)
    return body
