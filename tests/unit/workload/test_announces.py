"""A definition that says nothing of what it announces: new ones have the default, those that existed stay what they were."""

import hashlib
import json
from typing import Any

import pytest

from lanes.workload.comparison import Block, compare
from lanes.workload.diff import differences
from lanes.workload.hashes import LATER, LATER_PROMISES, content_hash, known_as
from lanes.workload.version import Spec, Version
from tests.examples import spec, stored_version


def earlier_hash(of: Spec) -> str:
    """What a release without the field called this content."""
    later = ("announces", *LATER)
    content = {
        field: value for field, value in of.model_dump(mode="json").items() if field not in later
    }
    content["promises"] = {
        name: value for name, value in content["promises"].items() if name not in LATER_PROMISES
    }
    return hashlib.sha256(
        json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
    ).hexdigest()


def in_force(**fields: Any) -> Version:
    return stored_version(**fields)


def test_a_new_definition_announces_the_answers_of_real_time_and_one_from_before_each() -> None:
    assert spec().announces == "realtime"
    assert in_force().spec.announces == "each"
    assert in_force(announces="summary").spec.announces == "summary"


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ({}, True),
        ({"announces": "each"}, True),
        ({"announces": "realtime"}, False),
        ({"announces": "summary"}, False),
    ],
)
def test_what_was_in_force_before_is_known_again_unless_a_definition_asks_for_something_else(
    said: dict[str, Any], known: bool
) -> None:
    asked = spec(**said)
    assert (earlier_hash(spec()) in known_as(asked)) is known
    assert known_as(asked)[0] == content_hash(asked) != earlier_hash(spec())


def test_a_definition_that_says_the_default_is_the_one_that_says_nothing() -> None:
    assert (
        content_hash(spec())
        == content_hash(spec(announces="realtime"))
        != content_hash(spec(announces="each"))
    )
    assert content_hash(Spec.stored(spec().model_dump(mode="json"))) == content_hash(spec())


def test_a_version_from_before_does_not_differ_from_a_definition_that_says_nothing_and_else_the_same() -> (
    None
):
    assert (
        differences(in_force().spec, spec())
        == differences(in_force().spec, spec(announces="each"))
        == []
    )
    assert [each.field for each in differences(in_force().spec, spec(announces="realtime"))] == [
        "announces"
    ]
    assert [each.field for each in differences(in_force().spec, spec(weight=2))] == [
        "announces",
        "weight",
    ]  # it is new
    assert [each.field for each in differences(in_force(announces="each").spec, spec())] == [
        "announces"
    ]


def test_the_block_of_a_version_from_before_says_what_is_in_force() -> None:
    block = spec().edited()
    assert "announces" not in block
    assert compare("letters", spec(), in_force(), block).nothing_differs
    assert compare("letters", in_force().spec, in_force(), block).block is Block.SAME
    assert compare("letters", spec(weight=2), in_force(), block).block is Block.BEHIND
    assert spec(announces="realtime").edited()["announces"] == "realtime"
