"""A workload's file: it reads back the same, and errors name their line, column and field."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lanes.errors import SpecInvalid
from lanes.mainjob.samples import WORKLOADS, sample_workloads
from lanes.workload import definition_file as workload_file
from lanes.workload import yaml_places
from lanes.workload.definition import content_hash, parse
from lanes.workload.definition_file import render_definition
from lanes.workload.form import Promises
from lanes.workload.version import SecondPass, Spec
from lanes.workload.yaml_places import NotYaml
from tests.examples import spec
from tests.unit.strategies import TEXT, some_json

GOOD = """\
name: letters
instructions: |
  Sort the letter.
output_schema:
  type: object
  properties:
    category: {type: string, enum: [a, b]}
patience_s: 30
promises:
  realtime_p95_s: 3
"""
some_lines = st.lists(
    TEXT | st.sampled_from(["", " ", "\t", "- a: b", "# no", "\ufeff", "\x85", "'", "😀"]),
    max_size=5,
)


def read(text: str) -> workload_file.NamedSpec:
    return workload_file.read(text.encode(), file="letters.yaml")


def refused(text: str | bytes) -> list[str]:
    with pytest.raises(SpecInvalid) as caught:
        workload_file.read(text if isinstance(text, bytes) else text.encode(), file="letters.yaml")
    return caught.value.problems


def test_a_file_has_a_name_and_the_fields_of_a_block_with_defaults_for_missing_fields() -> None:
    found = read(GOOD)
    assert found.name == "letters"
    assert (found.spec.instructions, found.spec.patience_s, found.spec.weight) == (
        "Sort the letter.\n",
        30,
        1,
    )
    assert found.spec.promises == Promises(realtime_p95_s=3)
    assert workload_file.read(b"\xef\xbb\xbf" + GOOD.encode(), file="x").spec == found.spec


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_sample_workload_reads_back_the_same_from_a_file(name: str) -> None:
    fields = sample_workloads()[name]
    known = parse(name, {field: value for field, value in fields.items() if field != "name"})
    text = render_definition(name, known, heading=[])
    assert (read(text).name, content_hash(read(text).spec)) == (name, content_hash(known))
    assert "instructions: |\n" in text  # readable and editable by people


@pytest.mark.slow
@given(
    some_lines.map("\n".join), some_lines.map("\n".join).filter(bool), some_json(), st.booleans()
)
@example("no", "22:00", {"yes": "no", "1": 1.0, "off": None}, True)
@example("", "ends with blank lines\n\n\n", {}, True)
@example("", "a tab at the end\t\nb", {"\n": "?\n", "b": []}, False)
@example("", "\n\n  leading\n", {"a": {"b": {}}}, True)
def test_any_definition_reads_back_the_same_from_its_file(
    description: str, instructions: str, odd: dict[str, Any], whole: bool
) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "object", "default": odd, "enum": [*odd, odd]}},
    }
    known = spec(
        description=description,
        instructions=instructions,
        output_schema=schema,
        promises={"realtime_p95_s": 3},
    )
    if whole:
        known = Spec.load(known.model_dump(mode="json"))
    again = read(render_definition("letters", known, heading=["Two", "lines"]))
    assert content_hash(again.spec) == content_hash(known)


def test_a_file_explains_every_field_as_the_form_does_and_has_defaults_as_comments() -> None:
    text = render_definition(
        "letters", spec(patience_s=5), heading=["Letters."], notes={"weight": "Ask Ada first."}
    )
    unfolded = " ".join(line.strip().lstrip("# ") for line in text.split("\n"))
    for model in (Spec, SecondPass, Promises):
        for field, about in model.model_fields.items():
            assert f"{about.title}: {about.description}" in unfolded, field
    assert text.startswith("# Letters.\nname: letters\n")
    assert "\npatience_s: 5\n" in text
    assert "\n#weight: 1\n" in text
    assert "\n# Ask Ada first.\n" in text
    uncommented = text.replace("\n#", "\n").replace("\n ", "\n# ")
    assert "\nweight: 1\n" in uncommented


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        (
            "patience_s: 30",
            "patience: 30",
            "line 8, column 1, patience: no field has that name; did you mean patience_s?",
        ),
        ("patience_s: 30", "patience_s: soon", "line 8, column 1, patience_s: "),
        ("patience_s: 30", "patience_s: 90000", "line 8, column 1, patience_s: "),
        (
            "patience_s: 30",
            "off_peak_start: 22:00",
            "line 8, column 17, off_peak_start: YAML reads 22:00 as the number 1320; "
            'write "22:00" in quotes',
        ),
        (
            "patience_s: 30",
            "description: 2026-12-01",
            "line 8, column 14, description: YAML reads 2026-12-01 as a date",
        ),
        (
            "patience_s: 30",
            "timezone: Mars/Base",
            'line 8, column 1, timezone: "Mars/Base" is not an IANA time zone',
        ),
        (
            "patience_s: 30",
            "urgent_when: colour == 1",
            "line 8, column 1, urgent_when: `colour == 1` reads colour",
        ),
        (
            "patience_s: 30",
            "urgent_when: payload.(",
            "line 8, column 1, urgent_when: not a CEL expression: line 1, column 9: ",
        ),
        (
            "patience_s: 30",
            "compare_fields: [category, x]",
            "line 8, column 1, compare_fields: x is not a property",
        ),
        (
            "patience_s: 30",
            "on: true",
            'line 8, column 1, on: this key is not a text in YAML; write "on" in quotes',
        ),
        ("patience_s: 30", "name: again", "line 8, column 1, name: the field is there twice"),
        (
            "patience_s: 30",
            'description: "a\\0"',
            "line 8, column 1, description: it holds the character NUL",
        ),
        (
            "  realtime_p95_s: 3",
            "  realtime_p95: 3",
            "line 10, column 3, promises.realtime_p95: no field has that name; "
            "did you mean realtime_p95_s?",
        ),
        (
            "  realtime_p95_s: 3",
            "  realtime_p95_s: -3",
            "line 10, column 3, promises.realtime_p95_s: ",
        ),
        (
            "enum: [a, b]",
            "enum: [a, no]",
            "line 7, column 40, output_schema.properties.category.enum.1: YAML reads no as "
            'false; write "no" in quotes',
        ),
        (
            "type: string",
            "type: text",
            "line 7, column 16, output_schema: not a JSON Schema: 'text'",
        ),
        (
            "{type: string, enum: [a, b]}",
            "{$ref: '#/$defs/b'}",
            'line 7, column 16, output_schema: "$ref": "#/$defs/b" leads',
        ),
        (
            "name: letters",
            "",
            "line 2, column 1, name: the field is missing; it names the workload, for example",
        ),
        (
            "name: letters",
            "name: 7",
            "line 1, column 1, name: it is not a text; write it in quotes",
        ),
        (
            "name: letters",
            "name: My letters",
            'line 1, column 1, name: "My letters" may hold a-z, 0-9 and "-"',
        ),
        (
            "instructions: |\n  Sort the letter.\n",
            "",
            "line 1, column 1, instructions: the field is missing",
        ),
        (
            "[a, b]}",
            "[a, b",
            "line 8, column 11, expected ',' or ']', but got ':', while parsing a flow "
            "sequence that begins in line 7",
        ),
        (GOOD, "", "line 1, column 1, a workload is a mapping with name, instructions"),
        (GOOD, "- a\n", "line 1, column 1, a workload is a mapping"),
        (GOOD, "name: \x07", "it cannot be read as YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_line_column_and_field(
    wrong: str, right: str, said: str
) -> None:
    assert wrong in GOOD
    assert said in refused(GOOD.replace(wrong, right, 1))[0]


def test_all_errors_are_reported_at_once_in_the_order_of_the_file() -> None:
    wrong = GOOD.replace("name: letters", "name: 7").replace(
        "patience_s: 30", "patience_s: -1\nbuffer_s: 9\nmode: kappa"
    )
    assert [each.split(",")[0] for each in refused(wrong)] == [
        "line 1",
        "line 8",
        "line 9",
        "line 10",
    ]


def test_a_file_that_is_not_utf8_is_refused_with_the_number_of_the_byte() -> None:
    assert refused(GOOD.encode("utf-16")) == ["byte 1 is not UTF-8; save the file as UTF-8"]


@given(st.text(max_size=200) | some_json().map(str))
def test_arbitrary_text_is_refused_as_a_definition(text: str) -> None:
    with pytest.raises(SpecInvalid):
        read(text.encode(errors="replace").decode())


def test_a_file_that_multiplies_itself_by_aliases_is_refused_with_its_place() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)
    )
    merged = "a0: &a0 {x: 1}\n" + "".join(
        f"a{n}: &a{n}\n  <<: [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)
    )
    for text, said in (
        (bomb, "with its aliases it has more than 10,000 values"),
        (merged, "use fewer aliases|nested deeper"),
    ):
        with pytest.raises(NotYaml, match=said) as caught:
            yaml_places.read(text)
        assert caught.value.place is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [*a]", "an alias stands within what it refers to; remove it"),
        ("[" * 10_000 + "]" * 10_000, "nested deeper than 60 levels; flatten it"),
        ("a:\n" + "- 1\n" * 60_000, "more than 10,000 values; divide or shorten it"),
        ("a: 1" + ":1" * 80_000, "a number has more than 100 characters; write a text in quotes"),
        ("a: " + "x" * 300_000, "characters, and at most 262,144 are read; divide or shorten it"),
    ],
)
def test_a_yaml_text_beyond_a_limit_is_refused_before_its_data_is_built(
    text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_places, "_data", None)  # building it would fail
    with pytest.raises(NotYaml, match=said):
        yaml_places.read(text)


def test_a_file_with_few_aliases_is_accepted() -> None:
    assert yaml_places.read("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: two}")[1] == {
        "a": {"x": 1},
        "b": {"x": 1},
        "c": {"x": 1, "y": "two"},
    }


def test_a_file_that_is_too_large_is_read_only_to_one_byte_beyond_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "huge.yaml"
    file.write_bytes(b"#" * (workload_file.MOST_BYTES + 100))
    content = workload_file.read_bytes(file)
    assert len(content) == workload_file.MOST_BYTES + 1
    with pytest.raises(SpecInvalid, match="larger than 1,024 KiB; a workload's file is not"):
        workload_file.read(content, file="huge.yaml")
