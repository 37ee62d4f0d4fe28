"""Answer quality, read in portions of saved attempts: classes, outcomes, corrections, labels and the serving model."""

from collections.abc import Mapping
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.cli import app
from lanes.errors import ActionRefused, UnknownWorkload
from lanes.promises.incident import IncidentState, Promise
from lanes.promises.judge import assess
from lanes.promises.quality import WatchedFigure
from lanes.provider.message import read_response
from lanes.routing.split import is_sampled
from lanes.settling.outcome import Response
from lanes.store import incidents
from lanes.store.asking import through
from lanes.store.doors import emptying, items
from lanes.store.figures import measurements, quality, reading
from lanes.store.promises import recording
from lanes.store.report import facts, snapshot
from lanes.store.workload import workloads
from lanes.words import Lane, Outcome, Signature
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import A, B, claim, rows, said, save, submit, tried
from tests.waiting import until

WATCHED = {"quality_reference_answers": 20}


def answer(
    connection: Connection,
    prefix: str,
    outputs: list[Any],
    *,
    minutes: float = 0,
    response: Response | None = None,
) -> None:
    """Answer one item per output in real time, then fold the quality figures; None is an invalid answer."""
    at = later(minutes=minutes)
    admit(connection, *(f"{prefix}{n}" for n in range(len(outputs))), now=at, lane=Lane.REALTIME)
    route(connection, now=at)
    tries = [
        tried(each, at=at, output=output, response=response)
        if output is not None
        else tried(each, Outcome.INVALID, at=at)
        for each, output in zip(
            (each for each in claim(connection, now=at) if each.key.startswith(prefix)),
            outputs,
            strict=True,
        )
    ]
    save(connection, *tries, now=at)
    quality.fold(connection, now=at)


def figures(connection: Connection) -> Mapping[str, WatchedFigure]:
    found = reading.list_watched(through(connection), drifted=False)
    return {f"{each.description} {each.lane}": each for each in found}


def looked(connection: Connection, **after: float) -> None:
    """Judge as `watch` does, at that time after noon."""
    now = later(**after)
    open_before = recording.list_open(connection)
    judged = assess(
        workloads.read_versions(connection), measurements.measure(connection, now=now), now
    )
    incidents.record(connection, judged, now=now)
    recording.end_gone(connection, judged, open_before, now=now)


def drifts(connection: Connection, state: IncidentState = IncidentState.OPEN) -> list[str]:
    found = incidents.list_newest(connection, states=[state])
    watched = (Promise.QUALITY_DRIFT, Promise.MODEL_CHANGED)
    return [each.sentence for each in found if each.promise in watched]


def test_each_answer_counts_for_its_fields_its_outcome_and_its_serving_model(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, promises=WATCHED)
    answer(connection, "k", [A, {"category": "b", "note": "four"}, None])
    found = figures(connection)
    assert {name: sorted(map(str, each.watch.values)) for name, each in found.items()} == {
        "field category realtime": ["a", "b"],
        "field note realtime": ["4.0", "null"],
        "outcome realtime": ["invalid", "valid", "valid"],
        "served realtime": ["claude-haiku-5-5"] * 3,
    }
    answer(connection, "again", [A])
    assert len(figures(connection)["outcome realtime"].watch.values) == 4


def test_a_change_is_reported_with_examples_until_a_person_accepts_it(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, promises=WATCHED)
    answer(connection, "usual", [A] * 30)
    answer(connection, "new", [B] * 60, minutes=5)
    looked(connection, minutes=5)
    (said,) = drifts(connection)
    assert said.startswith('field category: "b" 0 % to 100 % since 12:05 UTC, real-time lane')
    assert said.endswith('Examples: "new59", "new58", "new57", "new56", "new55".')
    emptying.forget(connection, "letters", "new58", now=later(minutes=6))
    looked(connection, minutes=6)
    assert "new58" not in drifts(connection)[0]
    done = recording.accept_quality(connection, "letters", Signature("ada", "new form", NOON))
    assert done == "letters: the answers from now on are the reference of 1 figure"
    looked(connection, minutes=7)
    assert drifts(connection) == []
    (said,) = drifts(connection, IncidentState.RESOLVED)
    assert said.startswith('field category: "b" 0 % to 100 % since 12:05 UTC')
    assert said.endswith("Accepted by ada: new form. The answers from now on are the reference.")
    answer(connection, "more", [B] * 60, minutes=8)
    looked(connection, minutes=8)
    assert drifts(connection) == []


def test_accepting_quality_without_a_change_is_refused(connection: Connection) -> None:
    publish(connection, now=NOON)
    by = Signature("ada", "so", NOON)
    with pytest.raises(ActionRefused, match='no answers of workload "letters" have changed'):
        recording.accept_quality(connection, "letters", by)
    with pytest.raises(UnknownWorkload):
        recording.accept_quality(connection, "nobody", by)


def test_a_change_of_the_served_model_is_reported_with_both_names(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, promises=WATCHED)
    answer(connection, "usual", [A] * 30)
    message = {
        "id": "msg_tiers",
        "model": "claude-haiku-5-5-b",
        "content": [],
        "usage": {
            "input_tokens": 1,
            "output_tokens": 1,
            "service_tier": "priority",
            "inference_geo": "eu",
            "speed": "fast",
        },
    }
    answer(connection, "new", [A] * 60, minutes=5, response=read_response(message))
    looked(connection, minutes=5)
    (said,) = drifts(connection)
    named = "claude-haiku-5-5-b, tier priority, geo eu, speed fast"
    assert said.startswith(f'served: "{named}" 0 % to 100 %')
    assert '; it was "claude-haiku-5-5".' in said
    for view in ("spend", "attempt_log"):
        found = rows(connection, view, message_id="msg_tiers")[0]
        assert (found.service_tier, found.inference_geo, found.speed) == ("priority", "eu", "fast")
        assert found.model == "claude-haiku-5-5-b"


def test_the_usual_tier_and_speed_and_an_invalid_geo_are_read_as_none() -> None:
    usage = {"input_tokens": 1, "output_tokens": 1, "service_tier": "batch", "speed": "standard"}
    read = read_response({"id": "msg_1", "content": [], "usage": {**usage, "inference_geo": 3}})
    assert (read.tier, read.geo, read.speed) == (None, None, None)


@pytest.mark.slow
def test_corrections_and_labels_count_as_soon_as_they_are_known(connection: Connection) -> None:
    version = publish(connection, now=NOON, mode="lambda", promises=WATCHED)
    answer(connection, "k", [A, A, A])
    batch_id, works = submit(connection, version, now=later(minutes=1))
    outputs = [A, B, A]
    tries = [tried(each, output=said) for each, said in zip(works, outputs, strict=True)]
    save(connection, *tries, batch_id=batch_id, now=later(minutes=2))
    items.label(connection, "letters", {"k0": A, "k1": A}, source="team")
    quality.fold(connection, now=later(minutes=3))
    found = figures(connection)
    assert sorted(found["correction realtime"].watch.values, key=str) == ["agreed"] * 2 + [
        "corrected"
    ]
    assert found["accuracy category realtime"].watch.values == ("right", "right")
    assert sorted(found["accuracy category batch"].watch.values, key=str) == ["right", "wrong"]
    by_class = found['correction of "a" realtime'].watch.values
    assert sorted(by_class, key=str) == ["agreed"] * 2 + ["corrected"]
    assert found['accuracy category of "a" realtime'].watch.values == ("right", "right")
    assert found['accuracy category of "a" batch'].watch.values == ("right",)
    assert found['accuracy category of "b" batch'].watch.values == ("wrong",)


def test_corrections_of_a_version_with_sampled_second_passes_count_the_uniform_sample_only(
    connection: Connection,
) -> None:
    second_pass = {"when": 'output.category == "a"', "sample": 0.3}
    fields = {"promises": WATCHED, "second_pass": second_pass}
    version = publish(connection, now=NOON, mode="lambda", **fields)
    answer(connection, "k", [A] * 18)
    batch_id, works = submit(connection, version, now=later(minutes=1))
    save(connection, *map(tried, works), batch_id=batch_id, now=later(minutes=2))
    quality.fold(connection, now=later(minutes=3))
    drawn = sum(is_sampled("letters", f"k{n}", 0.3) for n in range(18))
    assert 0 < drawn < 18
    assert len(figures(connection)["correction realtime"].watch.values) == drawn


def test_the_report_says_how_many_labels_are_missing_to_watch_accuracy(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, promises=WATCHED)
    answer(connection, "k", [A] * 40)
    for first, last, lacking in ((0, 10, ["lacks 10 labels"]), (10, 19, ["lacks 1 label"])):
        keys = (f"k{n}" for n in range(first, last))
        items.label(connection, "letters", dict.fromkeys(keys, A), source="team")
        quality.fold(connection, now=later(minutes=last))
        told = facts.quality(through(connection))
        assert [each.state for each in told if each.figure == "accuracy category"] == lacking
    items.label(connection, "letters", {"k19": A}, source="team")
    quality.fold(connection, now=later(minutes=20))
    told = facts.quality(through(connection))
    assert [each.state for each in told if "accuracy" in each.figure] == ["steady"] * 2


def test_a_drop_in_accuracy_is_reported_once_and_accepted_together_with_its_classes(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, promises=WATCHED)
    answer(connection, "k", [A] * 90)
    items.label(connection, "letters", {f"k{n}": A for n in range(30)}, source="team")
    quality.fold(connection, now=later(minutes=1))
    items.label(connection, "letters", {f"k{n}": B for n in range(30, 90)}, source="team")
    quality.fold(connection, now=later(minutes=3))
    looked(connection, minutes=3)
    (said,) = drifts(connection)
    assert said.startswith('accuracy category: "wrong" 0 % to 100 % since')
    assert figures(connection)['accuracy category of "a" realtime'].watch.drift is None
    recording.accept_quality(connection, "letters", Signature("ada", "new labels", NOON))
    assert {*figures(connection)} == {
        "field category realtime",
        "field note realtime",
        "outcome realtime",
        "served realtime",
    }


def test_a_packed_answer_that_a_single_call_contradicts_counts_as_differed(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, promises=WATCHED, realtime_pack=10, pack_check_share=0.2)
    admit(connection, *(f"k{n}" for n in range(40)), now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    shared = said()
    save(connection, *(tried(each, response=shared) for each in claim(connection)), now=NOON)
    first, *others = claim(connection, now=NOON)
    save(connection, tried(first, output=B), *(tried(each) for each in others), now=NOON)
    while again := claim(connection, now=later(minutes=1)):  # some items are asked alone twice
        quality.fold(connection, now=NOON)
        save(connection, *(tried(each) for each in again), now=later(minutes=1))
    quality.fold(connection, now=later(minutes=2))
    found = figures(connection)
    assert sorted(map(str, found["packed realtime"].watch.values)) == [
        *["agreed"] * len(others),
        "differed",
    ]
    assert found["outcome realtime"].watch.portions[0].counts == (40, 0)


def test_a_long_backlog_is_sampled_and_read_to_its_end(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(connection, now=NOON, promises=WATCHED)
    monkeypatch.setattr(quality, "MOST", 10)
    answer(connection, "k", [A, B] * 15)
    assert 9 <= len(figures(connection)["outcome realtime"].watch.values) <= 10
    read_to = "select position from lanes.watermark where name = 'quality of attempts'"
    newest = connection.execute(text("select max(id) from lanes.attempt")).scalar_one()
    assert connection.execute(text(read_to)).scalar_one() == newest


def test_a_workload_without_quality_reference_answers_is_not_watched(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, promises={"quality_reference_answers": 0})
    answer(connection, "k", [A] * 30)
    assert figures(connection) == {}


def test_a_new_version_ends_the_quality_incident_and_starts_without_figures(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, promises=WATCHED)
    answer(connection, "usual", [A] * 30)
    answer(connection, "new", [B] * 60, minutes=5)
    looked(connection, minutes=5)
    assert drifts(connection)
    publish(connection, now=later(minutes=6), promises=WATCHED, instructions="Sort it anew.")
    looked(connection, minutes=6)
    (said,) = drifts(connection, IncidentState.RESOLVED)
    assert said.startswith("Its version is no longer in force")
    assert figures(connection) == {}


def test_the_report_shows_the_reference_shares_next_to_the_present_ones(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, promises=WATCHED)
    answer(connection, "usual", [A] * 30)
    answer(connection, "new", [B] * 60, minutes=5)
    taken = snapshot.take(connection, since=NOON, now=later(minutes=6))
    (of,) = (each for each in taken.quality if each.figure == "field category")
    assert of.state == "drifts"
    assert of.classes == [('"b"', 0.0, 1.0), ('"a"', 1.0, 0.0)]


def test_accept_quality_accepts_a_change_and_fails_when_nothing_has_changed(
    pool: Engine, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON, promises=WATCHED)
        answer(connection, "usual", [A] * 30)
        answer(connection, "new", [B] * 60, minutes=5)
    assert app(["accept-quality", "letters", "--why", "right"]) == 0
    assert "the reference of 1 figure" in capsys.readouterr().out
    assert app(["accept-quality", "letters"]) == 1
    assert "no answers of workload" in capsys.readouterr().err


@pytest.mark.parametrize("other", ['{"cuts": "a"}', '{"names": []}', '{"drift": {"place": 9}}'])
def test_a_figure_in_another_releases_format_is_learned_anew_and_does_not_stop_others(
    connection: Connection, other: str
) -> None:
    publish(connection, now=NOON, promises=WATCHED)
    answer(connection, "usual", [A] * 30)
    answer(connection, "new", [B] * 60, minutes=5)
    write = (
        "update lanes.quality set watch = watch || cast(:other as jsonb) where field = 'category'"
    )
    connection.execute(text(write), {"other": other})
    looked(connection, minutes=5)
    answer(connection, "more", [A] * 10, minutes=6)
    looked(connection, minutes=6)
    found = figures(connection)
    assert found["field category realtime"].watch.values == ("a",) * 10
    assert found["outcome realtime"].watch.portions


@pytest.mark.slow
@pytest.mark.parametrize(("reader", "step"), [(measurements, "measure"), (quality, "document_of")])
def test_a_change_accepted_while_watch_reads_it_stays_accepted(
    pool: Engine, monkeypatch: pytest.MonkeyPatch, reader: Any, step: str
) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON, promises=WATCHED)
        answer(connection, "usual", [A] * 30)
        answer(connection, "new", [B] * 60, minutes=5)
        looked(connection, minutes=5)

    def accept() -> None:
        with pool.begin() as other:
            recording.accept_quality(other, "letters", Signature("ada", "right", NOON))

    def meanwhile(*of: Any, **more: Any) -> Any:
        """Run `step`, let a person accept before its result is used, and return the result."""
        found = original(*of, **more)
        person.start()
        with pool.connect() as other:
            until(lambda: not person.is_alive() or other.execute(waits).scalar_one())
        return found

    waits = text("select count(*) from pg_locks where not granted")
    person, original = Thread(target=accept), getattr(reader, step)
    with pool.begin() as connection, monkeypatch.context() as patched:
        patched.setattr(reader, step, meanwhile)
        if reader is quality:
            answer(connection, "more", [B], minutes=6)
        else:
            looked(connection, minutes=6)
    person.join()
    with pool.begin() as connection:
        looked(connection, minutes=7)
        assert drifts(connection) == []
        assert len(drifts(connection, IncidentState.RESOLVED)) == 1
