"""The batch worker: it spreads work over the turnaround, yields to real-time work, and continues after a restart."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from anthropic_standin.batch_store import BatchStore, Finished, StoredBatch
from anthropic_standin.bill import Entry
from anthropic_standin.clock import EndpointClock
from anthropic_standin.composing import SPOILING, Composer
from anthropic_standin.engine import Engine
from anthropic_standin.errors import ApiError, invalid
from anthropic_standin.faults import FaultRule, Faults
from anthropic_standin.limits import EndpointSettings
from anthropic_standin.prompt_cache import is_marked
from anthropic_standin.question import PromptQuestion, read_question

logger = logging.getLogger(__name__)
IDLE_S = 0.25
COURTESY_S = 0.005
"""How long the worker steps aside between two steps while real-time requests keep coming."""
TRAFFIC_S = 0.05


class UrgentTraffic:
    """The time of the latest real-time request: batch work yields to such traffic."""

    def __init__(self) -> None:
        self.last_at = 0.0

    def note(self) -> None:
        self.last_at = time.monotonic()

    def recent(self) -> bool:
        return time.monotonic() - self.last_at < TRAFFIC_S


@dataclass(slots=True)
class _Job:
    """A batch request in progress, with its question or its error."""

    place: int
    custom_id: str
    question: PromptQuestion | None = None
    error: ApiError | None = None
    fault: FaultRule | None = None
    delay_s: float = 0.0


class Runner:
    """A thread that processes every unfinished batch in turn, one step at a time, until it is closed."""

    def __init__(
        self,
        *,
        store: BatchStore,
        engine: Engine,
        composer: Composer,
        faults: Faults,
        settings: EndpointSettings,
        traffic: UrgentTraffic,
        clock: EndpointClock,
    ) -> None:
        self._store, self._engine, self._composer = store, engine, composer
        self._faults, self._settings, self._traffic, self._clock = faults, settings, traffic, clock
        self._marked = 0
        self._stalled_batches: set[str] = set()
        self._expired_batches: set[str] = set()
        self._stalled_places: set[int] = set()
        self._generation = faults.generation
        self._awake = threading.Event()
        self._closed = False
        # by batch: the number of prefixes that were cached when it began
        self._begun: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)

    def start(self) -> None:
        """Start to process unfinished batches, including those of an earlier process."""
        self._thread.start()

    def close(self) -> None:
        """Close the engine, finish or abandon the current step, and end the thread."""
        self._closed = True
        self._awake.set()
        self._engine.close()
        self._thread.join()

    def wake(self) -> None:
        """Start the next step now, because of a new batch, setting or rule."""
        self._awake.set()

    def stall(self, batch_id: str) -> None:
        """Stall this batch until the fault rules are cleared."""
        self._stalled_batches.add(batch_id)

    def expire(self, batch_id: str) -> None:
        """Let every request of this batch expire."""
        self._expired_batches.add(batch_id)

    def _run(self) -> None:
        while not self._closed:
            self._awake.clear()
            self._release_stalled()
            moved = False
            unfinished: list[StoredBatch] = []
            try:
                unfinished = self._store.unfinished()
                for batch in unfinished:
                    if self._closed:
                        return
                    moved = self._step(batch, self._clock.now()) or moved
                    if self._traffic.recent():
                        time.sleep(COURTESY_S)
            except Exception:
                if self._closed:
                    return
                logger.exception("A step of the batch worker failed; it is tried again")
                moved = False
            if not moved:
                soon = min(IDLE_S, max(0.005, self._settings.turnaround_s / 50))
                self._awake.wait(soon if unfinished else IDLE_S)

    def _release_stalled(self) -> None:
        if self._generation != self._faults.generation:
            self._generation = self._faults.generation
            self._stalled_batches.clear()
            self._stalled_places.clear()

    def _step(self, batch: StoredBatch, now: float) -> bool:
        """Process one step of a batch; return False if there is nothing to do for now."""
        if batch.finished == batch.requests:
            self._store.end(batch, now)
            return True
        verdict = self._verdict_on_rest(batch, now)
        if verdict is not None:
            rest = self._store.waiting(batch, after=-1, limit=2_000)
            self._store.finish(
                batch,
                [
                    _without_answer(place, orjson.loads(raw)["custom_id"], verdict)
                    for place, raw in rest
                ],
            )
            return True
        if batch.id in self._stalled_batches:
            return False
        due = min(
            self._engine.batch_step,
            due_by(batch, now, self._settings.turnaround_s) - batch.finished,
        )
        jobs = self._take(batch, due)
        if not jobs:
            return False
        self._store.finish(batch, self._work(batch, jobs))
        return True

    def _verdict_on_rest(self, batch: StoredBatch, now: float) -> str | None:
        if batch.cancel_at is not None:
            return "canceled"
        if batch.id in self._expired_batches:
            return "expired" if now >= batch.created_at + self._settings.turnaround_s else None
        return "expired" if now >= batch.expires_at else None

    def _take(self, batch: StoredBatch, limit: int) -> list[_Job]:
        """Return up to `limit` requests that no rule stalls, with the faults that apply to them."""
        jobs: list[_Job] = []
        after = -1
        while len(jobs) < limit and batch.id not in self._expired_batches:
            rows = self._store.waiting(batch, after=after, limit=limit)
            if not rows:
                break
            after = rows[-1][0]
            jobs += [
                job for row in rows[: limit - len(jobs)] if (job := self._job(*row)) is not None
            ]
        return jobs

    def _job(self, place: int, raw: bytes) -> _Job | None:
        if place in self._stalled_places:
            return None
        request = orjson.loads(raw)
        job = _Job(place, request["custom_id"])
        try:
            job.question = read_question(request["params"])
            if job.question.stream:
                raise invalid("stream: Streaming is not supported in a batch")
        except ApiError as error:
            job.error = error
        for rule in self._faults.take("batch_request", job.question.text if job.question else ""):
            job.delay_s += rule.latency_s
            if rule.kind == "stall":
                self._stalled_places.add(place)
                return None
            if rule.kind == "status":
                job.error = rule.error()
            elif rule.kind != "latency":
                job.fault = rule
        return job

    def _work(self, batch: StoredBatch, jobs: Sequence[_Job]) -> list[Finished]:
        delay = sum(job.delay_s for job in jobs)
        if delay:
            time.sleep(delay)
        asked = [
            job
            for job in jobs
            if job.error is None and not (job.fault and job.fault.kind in ("expire", "lose"))
        ]
        questions = [job.question for job in asked if job.question is not None]
        began = self._composer.begins()
        first = self._begun.setdefault(batch.id, began)
        answers = dict(
            zip((job.place for job in asked), self._engine.answer_many(questions), strict=True)
        )
        return [self._finished(batch, job, answers.get(job.place), first, began) for job in jobs]

    def _reads(self, job: _Job) -> tuple[bool, bool]:
        """Return whether the job reads cached prompts, and whether it also reads those of its own batch.

        The settings give the shares of jobs that do; these jobs are evenly spread.
        """
        if job.question is None or not is_marked(job.question.params):
            return False, False
        self._marked += 1
        reads = _falls_on(self._marked, self._settings.batch_cache_hits)
        return reads, _falls_on(self._marked, self._settings.batch_own_hits)

    def _finished(
        self, batch: StoredBatch, job: _Job, answer: Any, first: int, began: int
    ) -> Finished:
        kind = job.fault.kind if job.fault else ""
        if job.error is not None:
            result = {"type": "errored", "error": job.error.body()}
            return Finished(job.place, "errored", _line(job.custom_id, result))
        # A lost request gets no answer and is not billed: the results have no line for it.
        if kind == "lose":
            return Finished(job.place, "errored", None)
        if kind == "expire" or job.question is None:
            return _without_answer(job.place, job.custom_id, "expired")
        now = self._clock.now()
        spoil = kind if kind in SPOILING else None
        reads, reads_own = self._reads(job)
        message = self._composer.message(
            job.question,
            answer,
            processing="batch",
            now=now,
            began=began if reads_own else first,
            reads=reads,
            spoil=spoil,
        )
        entry = Entry(message, "batch", job.question.text, now, batch.id, job.custom_id)
        line = (
            None
            if kind == "drop"
            else _line(job.custom_id, {"type": "succeeded", "message": message})
        )
        return Finished(job.place, "succeeded", line, entry)


def _falls_on(number: int, share: float) -> bool:
    """Return whether an evenly spread share includes the element with this number, counted from 1."""
    return math.floor(number * share) > math.floor((number - 1) * share)


def due_by(batch: StoredBatch, now: float, turnaround_s: float) -> int:
    """Return the number of requests due by now if all are spread evenly over the turnaround."""
    if turnaround_s <= 0:
        return batch.requests
    return min(
        batch.requests, int(batch.requests * max(0.0, now - batch.created_at) / turnaround_s)
    )


def _without_answer(place: int, custom_id: str, verdict: str) -> Finished:
    return Finished(place, verdict, _line(custom_id, {"type": verdict}))


def _line(custom_id: str, result: dict[str, Any]) -> bytes:
    return orjson.dumps({"custom_id": custom_id, "result": result})
