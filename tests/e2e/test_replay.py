"""Late data and a replay in a whole stand: corrected, promoted, taken back."""

from uuid import uuid4

from tests.stand import RunningStand, data, until


def put_documents(stand: RunningStand, mark: str, number: int) -> list[str]:
    """Keys of documents that were settled on the batch lane."""
    keys = [f"{mark}-{n}" for n in range(number)]
    for key in keys:
        stand.emit("archive", {"key": key, "payload": {"title": key, "text": f"Document {key}"}, "lane": "batch"})
    until(lambda: all(stand.state("archive", key) == "routed" for key in keys), what="routing")
    stand.run("submit", {"departure": {"workload": "archive"}})
    until(lambda: all(stand.state("archive", key) == "settled" for key in keys), within_s=90, what="settling")
    return keys


def current(stand: RunningStand, keys: list[str]) -> list[tuple[object, ...]]:
    query = "select key, output, generation, version, created_at from lanes.current_results where key = any(:k) order by key"
    return [tuple(each) for each in stand.rows(query, k=keys)]


def test_a_replay_is_promoted_and_demoted_and_an_amended_item_is_corrected(stand: RunningStand) -> None:
    mark = uuid4().hex[:8]
    keys = put_documents(stand, mark, 4)
    first, last = stand.rows(
        "select min(position) as first, max(position) as last from lanes.item_status where key = any(:k)", k=keys
    )[0]
    before = current(stand, keys)
    span = ("--from", str(first), "--to", str(last), "--json")

    previewed = stand.cli("replay", "archive", "--preview", *span)
    assert (previewed.returncode, data(previewed)["items"]) == (0, 4)
    refused = stand.cli("replay", "archive", "--version", "99", *span)
    assert (refused.returncode, "has no version 99" in refused.stderr) == (1, True)

    asked = {"workload": "archive", "from_position": first, "to_position": last, "why": "a test", "submit": False}
    stand.run("replay", {"reading": asked})
    read = "select generation from lanes.replay_log where workload = 'archive' and state = 'running' and items = 4"
    generation = until(lambda: stand.value(read), what="the replay")
    second = stand.cli("replay", "archive", *span)
    assert (second.returncode, "before another replay" in second.stderr) == (1, True)
    early = stand.cli("promote", "archive")
    assert (early.returncode, "open work (4 items)" in early.stderr) == (1, True)

    # Late data comes while the replay runs: it is answered for its newest revision, live and in the replay.
    late = {"key": keys[0], "payload": {"title": "late", "text": "An invoice that came late"}}
    stand.emit("archive", late, event="lanes.item.amended")
    until(lambda: stand.state("archive", keys[0]) == "answered", what="the amendment")
    stand.run("submit", {"departure": {"workload": "archive"}})
    until(lambda: stand.state("archive", keys[0]) == "settled", within_s=90, what="the second answer")
    corrected = stand.rows("select * from lanes.correction_log where key = :k", k=keys[0])
    assert len(corrected) == 1
    assert corrected[0].authoritative_output["summary"] == "An invoice that came late"
    assert current(stand, keys[1:]) == before[1:]

    state = "select state from lanes.replay_log where workload = 'archive' and generation = :g"
    until(lambda: stand.value(state, g=generation) == "complete", within_s=90, what="its end")
    live = current(stand, keys)
    assert data(stand.cli("diff", "archive", "--json"))["diff"]["items"] == 4
    promoted = stand.cli("promote", "archive", "--json")
    assert data(promoted)["changed"] == 4
    assert {each[2] for each in current(stand, keys)} == {generation}
    demoted = stand.cli("demote", "archive")
    assert demoted.returncode == 0, demoted.stderr
    assert current(stand, keys) == live
    dropped = stand.cli("drop", "archive", "--json")
    assert data(dropped)["state"] == "dropped"
    artifact = stand.prefect.get("artifacts/lanes-replay-archive/latest")
    assert artifact.status_code == 200
    assert f"Generation {generation}" in artifact.json()["description"]
