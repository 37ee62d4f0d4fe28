"""What is said before a workload's batch leaves, or why it does not."""

from dataclasses import replace

import pytest

from lanes.batch.departure import OutstandingWork, announcement
from tests.conftest import NOON, later

EMPTY = OutstandingWork(
    "archive",
    paused_at=None,
    ready=0,
    resting=0,
    rested_at=None,
    unrouted=0,
    realtime=0,
    at_provider=0,
    held=0,
    held_batches=(),
    in_the_way=(),
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "nothing of archive is ready to leave"),
        ({"ready": 1}, "1 item of archive will leave now"),
        (
            {"ready": 1_204, "realtime": 3, "at_provider": 40},
            "1,204 items of archive will leave now: 3 on the real-time lane; 40 in batches already",
        ),
        (
            {"resting": 2, "rested_at": later(minutes=5), "unrouted": 7},
            "nothing of archive is ready to leave: 7 received and not routed yet, which takes a few seconds while a drain "
            "runs; 2 resting after a failed try, the first until 12:05 UTC",
        ),
        (
            {"ready": 2, "in_the_way": (41,), "held": 5, "held_batches": (7, 9)},
            "2 items of archive will leave now: they leave once the create of batch 41 is answered or looked into; 5 in "
            "batches 7, 9, held until a person decides: `lanes batches`",
        ),
        ({"in_the_way": (41,)}, "nothing of archive is ready to leave"),
        (
            {"ready": 3, "paused_at": later(hours=-2)},
            "archive is paused since 10:00 UTC, with 3 items ready: nothing of it leaves before `lanes resume archive`",
        ),
    ],
)
def test_the_sentence_says_what_leaves_and_what_stays_behind(
    changes: dict[str, object], said: str
) -> None:
    assert announcement(replace(EMPTY, **changes), NOON) == said  # pyright: ignore[reportArgumentType]


def test_only_what_is_ready_and_not_paused_may_leave() -> None:
    assert not EMPTY.may_leave
    assert replace(EMPTY, ready=1).may_leave
    assert not replace(EMPTY, ready=1, paused_at=NOON).may_leave
