"""/_control: faults, settings and the bill, for tests, benchmarks and chaos tests. It needs no key."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any
from urllib.parse import parse_qs

from anthropic_standin.bill import Bill
from anthropic_standin.errors import ApiError, invalid
from anthropic_standin.exchange import HttpAnswer, Request, json_answer
from anthropic_standin.faults import Faults
from anthropic_standin.limits import LIMITS, AccountLimits, EndpointSettings
from anthropic_standin.runner import Runner

MOST_BYTES = 1024 * 1024


class ControlApi:
    """The API that changes the stand-in's behaviour and returns its bill."""

    def __init__(
        self,
        *,
        faults: Faults,
        settings: EndpointSettings,
        bill: Bill,
        runner: Runner,
        limits: AccountLimits,
    ) -> None:
        self._faults, self._settings, self._bill, self._runner, self._limits = (
            faults,
            settings,
            bill,
            runner,
            limits,
        )

    async def handle(self, request: Request) -> HttpAnswer:
        """Answer a request under /_control; ApiError 404 for an unknown one."""
        match request.method, request.path.removeprefix("/_control/"):
            case "GET", "faults":
                return json_answer({"data": self._faults.view()})
            case "POST", "faults":
                rule = self._faults.add(await request.json(MOST_BYTES))
                return json_answer(dataclasses.asdict(rule))
            case "DELETE", "faults":
                self._faults.clear()
                self._runner.wake()
                return json_answer({"data": []})
            case "GET", "settings":
                return json_answer(dataclasses.asdict(self._settings))
            case "POST", "settings":
                return json_answer(self._change(await request.json(MOST_BYTES)))
            case "GET", "limits":
                return json_answer({"refused": self._limits.refused})
            case "GET", "bill":
                return json_answer(await asyncio.to_thread(self._bill.totals))
            case "GET", "bill/messages":
                return await self._messages(request)
            case "GET", "texts":
                text = parse_qs(request.query.decode()).get("contains", [""])[0]
                if not text:
                    raise invalid("contains: Field required")
                return json_answer(await asyncio.to_thread(self._bill.responses_about, text))
        raise ApiError(404, f"There is no {request.method} {request.path} here")

    async def _messages(self, request: Request) -> HttpAnswer:
        fields = parse_qs(request.query.decode())
        limit, after = fields.get("limit", ["1000"])[0], fields.get("after", ["0"])[0]
        if not limit.isdigit() or not after.isdigit() or not 1 <= int(limit) <= 100_000:
            raise invalid(
                "limit should be a number between 1 and 100000, after a number of the bill"
            )
        return json_answer(
            await asyncio.to_thread(self._bill.messages, limit=int(limit), after=int(after))
        )

    def _change(self, wanted: Any) -> dict[str, Any]:
        known = {field.name for field in dataclasses.fields(self._settings)}
        if not isinstance(wanted, dict) or set(wanted) - known:
            raise invalid(f"settings are an object with any of {', '.join(sorted(known))}")
        for name, value in wanted.items():
            if value is None and name in LIMITS:
                continue
            negative = name != "clock_ahead_s" and isinstance(value, int | float) and value < 0
            if isinstance(value, bool) or not isinstance(value, int | float) or negative:
                raise invalid(f"{name}: should be a number of at least 0, not {value!r}")
            if name in ("batch_cache_hits", "batch_own_hits") and value > 1:
                raise invalid(f"{name}: should be at most 1, not {value!r}")
            if name in LIMITS and value < 1:
                raise invalid(f"{name}: should be at least 1, or null for no limit")
        for name, value in wanted.items():
            setattr(self._settings, name, value)
        self._runner.wake()
        return dataclasses.asdict(self._settings)
