"""A provider of raw bytes: it sends, over a real connection, responses that no well-behaved server sends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Say = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def body(content: bytes, *, kind: bytes = b"application/json") -> Say:
    """Return a handler that sends a complete answer of status 200."""

    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = b"%d" % len(content)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: "
            + kind
            + b"\r\ncontent-length: "
            + length
            + b"\r\n\r\n"
            + content
        )

    return say


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset the connection before any byte of an answer."""
    writer.transport.abort()


async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send an endless body, one byte at a time, so that no read times out."""
    writer.write(HEAD + b"content-length: 1000000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Send no byte until the client gives up."""
    await reader.read()


@asynccontextmanager
async def saying(say: Say, hear: Callable[[bytes], object] = len) -> AsyncIterator[str]:
    """Yield the address of a provider that answers every request with `say`; `hear` receives the head of each request."""

    open_: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_.add(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            hear(head)
            length = next(
                (
                    int(line[15:])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                ),
                0,
            )
            await reader.readexactly(length)
            await say(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in open_:
            writer.transport.abort()
