"""The body of a batch's create: written once to a file that has no name, while it is hashed, and sent from there."""

import asyncio
import hashlib
import tempfile
from array import array
from collections.abc import AsyncIterator
from typing import Self

BLOCK = 1024 * 1024  # bytes read and sent at once
BEGIN, BETWEEN, END = b'{"requests":[', b",", b"]}"


class Body:
    """Requests are added one by one, then it is sealed; it can be sent several times. Memory holds none of them.

    The file is gone once it is closed, or its process has ended, however it did.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="lanes-")  # noqa: SIM115 - closed with the body
        self._ends = array("Q")  # where each request ends
        self._hash = hashlib.sha256()
        self._write(BEGIN)

    def __len__(self) -> int:
        """How many requests it holds."""
        return len(self._ends)

    @property
    def size(self) -> int:
        """Its bytes, once it is sealed."""
        return (self._ends[-1] if self._ends else len(BEGIN)) + len(END)

    @property
    def sha256(self) -> str:
        """Of all its bytes, once it is sealed: 64 hexadecimal digits."""
        return self._hash.hexdigest()

    def add(self, custom_id: str, params: bytes) -> None:
        """A request more; `params` are JSON already."""
        request = b'%b{"custom_id":"%b","params":%b}' % (
            BETWEEN if self._ends else b"",
            custom_id.encode(),
            params,
        )
        self._ends.append(self._write(request))

    def keep(self, requests: int) -> None:
        """The first so many stay, the others were never written."""
        if requests == len(self._ends):
            return
        del self._ends[requests:]
        self._file.seek(self._ends[-1] if self._ends else len(BEGIN))
        self._file.truncate()
        self._hash = hashlib.sha256()
        self._file.seek(0)
        while block := self._file.read(BLOCK):
            self._hash.update(block)

    def seal(self) -> None:
        """It is whole: nothing more is added."""
        self._write(END)
        self._file.flush()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The sealed body from its beginning, in blocks."""
        at = 0
        while block := await asyncio.to_thread(self._read, at):
            yield block
            at += len(block)

    def close(self) -> None:
        """Its bytes are gone."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, part: bytes) -> int:
        """Where the file ends now."""
        self._file.write(part)
        self._hash.update(part)
        return self._file.tell()

    def _read(self, at: int) -> bytes:
        self._file.seek(at)
        return self._file.read(BLOCK)
