"""Answers in the Harmony dialect: channels, tool calls, ends, and what models leave out."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.language import sentencepiece_model as spm
from edgellm.language.harmony import (
    Content,
    Ended,
    Event,
    HarmonyParser,
    PlainParser,
    Reasoning,
    ReplyParser,
    ToolArguments,
    ToolCall,
    is_harmony,
    parser_for,
)
from edgellm.language.tokenizer import Part, Tokenizer, load_tokenizer, tokenizer_from_pieces
from harmony_events import joined
from tiny_checkpoints import TINY_JA

STOP, TOOLS, LENGTH = Ended("stop"), Ended("tool_calls"), Ended("length")


@pytest.fixture(scope="module")
def tiny() -> Tokenizer:
    return load_tokenizer(TINY_JA)


def parse(tokenizer: Tokenizer, text: str, parser: ReplyParser | None = None) -> list[Event]:
    """Events of a reply whose special tokens are written out; pieces of one text are joined."""
    parser = parser or HarmonyParser(tokenizer)
    events = [e for i in tokenizer.encode_parts([Part(text, True)]) for e in parser.feed(i)]
    return joined([*events, *parser.finish()])


def test_reasoning_and_content_are_told_apart(tiny: Tokenizer) -> None:
    text = (
        "<|channel|>analysis<|message|>考える。<|end|><|start|>assistant<|channel|>final<|message|>答え\nだ。<|return|>"
    )
    assert parse(tiny, text) == [Reasoning("考える。"), Content("答え\nだ。"), STOP]


def test_events_come_as_soon_as_their_text_is_certain(tiny: Tokenizer) -> None:
    parser = HarmonyParser(tiny)
    for token in tiny.encode_parts([Part("<|channel|>final<|message|>", True)]):
        assert parser.feed(token) == []
    ids = tiny.encode("鱻")[1:]  # three byte pieces
    assert [parser.feed(i) for i in ids] == [[], [], [Content("鱻")]]


def test_the_dummy_space_of_each_body_is_no_text(tiny: Tokenizer) -> None:
    assert parse(tiny, "<|channel|>final<|message|> 空白<|return|>") == [Content(" 空白"), STOP]


@pytest.mark.parametrize(
    "header",
    [
        "<|channel|>commentary to=functions.weather<|constrain|>json<|message|>",
        " to=functions.weather<|channel|>commentary json<|message|>",
        "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>",
        "<|channel|>analysis to=weather code<|message|>",
    ],
)
def test_a_tool_call_in_any_form_of_header(tiny: Tokenizer, header: str) -> None:
    arguments = '{"town": "京都", "days": 3}'
    events = parse(tiny, f"{header}{arguments}<|call|>")
    assert events == [ToolCall(0, "weather"), ToolArguments(0, arguments), TOOLS]
    assert json.loads(arguments)["town"] == "京都"


def test_several_tool_calls_after_reasoning(tiny: Tokenizer) -> None:
    head = "<|channel|>commentary to=functions."
    text = (
        f"<|channel|>analysis<|message|>両方。<|end|><|start|>assistant{head}a<|constrain|>json<|message|>{{}}<|end|>"
        f"<|start|>assistant{head}b<|constrain|>json<|message|>[1]<|call|>"
    )
    assert parse(tiny, text) == [
        Reasoning("両方。"),
        ToolCall(0, "a"),
        ToolArguments(0, "{}"),
        ToolCall(1, "b"),
        ToolArguments(1, "[1]"),
        TOOLS,
    ]


def test_commentary_to_nobody_is_content(tiny: Tokenizer) -> None:
    assert parse(tiny, "<|channel|>commentary<|message|>調べます。<|end|>")[0] == Content("調べます。")


@pytest.mark.parametrize("stop", ["<|return|>", "<|endoftext|>", "<|call|>"])
def test_a_stop_token_ends_the_answer_and_the_rest_gives_nothing(tiny: Tokenizer, stop: str) -> None:
    events = parse(tiny, f"<|channel|>final<|message|>はい{stop}<|start|>assistant<|channel|>final<|message|>続き")
    assert events == [Content("はい"), STOP]


def test_an_answer_cut_short_ends_with_length_and_keeps_its_text(tiny: Tokenizer) -> None:
    assert parse(tiny, "<|channel|>final<|message|>途中") == [Content("途中"), LENGTH]
    assert parse(tiny, "<|channel|>final") == [LENGTH]
    assert parse(tiny, "") == [LENGTH]


def test_a_character_cut_short_is_given_as_a_replacement(tiny: Tokenizer) -> None:
    parser = HarmonyParser(tiny)
    ids = tiny.encode_parts([Part("<|channel|>final<|message|>", True)]) + tiny.encode("鱻")[1:-1]
    assert [e for i in ids for e in parser.feed(i)] == []
    assert parser.finish() == [Content("�"), LENGTH]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("こんにちは。<|return|>", "こんにちは。"),  # no header at all
        ("a cat<|return|>", "a cat"),  # which might have become "assistant"
        ("to be<|return|>", "to be"),  # which might have become "to=…"
        ("<|channel|>独白<|message|>はい<|return|>", "独白はい"),  # a channel that can be none
        ("<|channel|>poem<|message|>はい<|return|>", "はい"),  # an unknown channel
        ("<|channel|>final はい<|return|>", "はい"),  # no message mark
        ("<|channel|>final<|channel|>final<|message|>はい<|return|>", "はい"),  # a mark twice
        ("<|message|>はい<|return|>", "はい"),  # no channel
        ("<|channel|>final<|message|><|message|>はい<|return|>", "はい"),
        ("<|end|>はい<|return|>", "はい"),  # no start mark
        ("assistant<|channel|>final<|message|>はい<|return|>", "はい"),  # the prompt's word repeated
        ("<|channel|>final<|message|>は<|end|>assistant<|channel|>final<|message|>い<|return|>", "はい"),
        ("<|channel|>final " + "yes " * 80, "yes " * 80),  # a header that never ends
    ],
)
def test_missing_pieces_cost_no_text(tiny: Tokenizer, text: str, expected: str) -> None:
    *content, ended = parse(tiny, text)
    assert "".join(e.text for e in content if isinstance(e, Content)) == expected
    assert ended in (STOP, LENGTH)


def test_a_channel_inside_a_body_begins_a_new_message(tiny: Tokenizer) -> None:
    text = "<|channel|>analysis<|message|>考え<|channel|>final<|message|>答え<|return|>"
    assert parse(tiny, text) == [Reasoning("考え"), Content("答え"), STOP]


@pytest.mark.parametrize("who", ["user<|message|>", "functions.a to=assistant<|channel|>commentary<|message|>"])
def test_a_model_that_plays_somebody_else_is_stopped(tiny: Tokenizer, who: str) -> None:
    events = parse(tiny, f"<|channel|>final<|message|>はい<|end|><|start|>{who}次の質問<|end|>")
    assert events == [Content("はい"), STOP]


def test_marks_that_the_model_spells_as_text_are_text(tiny: Tokenizer) -> None:
    ids = [
        *tiny.encode_parts([Part("<|channel|>final<|message|>", True), Part("<|end|>は印", False)]),
        tiny.eos_id,
    ]
    parser = HarmonyParser(tiny)
    assert joined([e for i in ids if i is not None for e in parser.feed(i)]) == [Content("<|end|>は印"), STOP]


@given(st.lists(st.sampled_from([2, 4, 8, 9, 10, 11, 12, 13, 14 + 0xE3, 14 + 0x81, 290, 300, 1000, 5974, 8000])))
@settings(deadline=None, max_examples=300)
def test_any_stream_of_ids_ends_exactly_once(tiny: Tokenizer, ids: list[int]) -> None:
    parser = HarmonyParser(tiny)
    events = [e for i in ids for e in parser.feed(i)] + parser.finish()
    assert [e for e in events if isinstance(e, Ended)] == [events[-1]]
    assert all(e.text for e in events if isinstance(e, (Reasoning, Content, ToolArguments)))
    assert parser.feed(1000) == parser.finish() == []


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), min_size=1))
@settings(deadline=None, max_examples=100)
def test_any_final_text_comes_out_as_it_is(tiny: Tokenizer, text: str) -> None:
    ids = tiny.encode_parts([Part("<|channel|>final<|message|>", True), Part(text, False), Part("<|return|>", True)])
    parser = HarmonyParser(tiny)
    assert joined([e for i in ids for e in parser.feed(i)]) == [Content(text), STOP]


def test_a_vocabulary_without_the_marks_gets_the_plain_parser(tiny: Tokenizer) -> None:
    model = spm.read((TINY_JA / "tokenizer.model").read_bytes())
    plain_names = [re.sub(r"<\|(.*)\|>", r"<\1>", p) for p in model.pieces]
    plain = tokenizer_from_pieces(plain_names, model.scores, model.types, bos_id=1, eos_id=2)
    assert is_harmony(tiny)
    assert not is_harmony(plain)
    assert isinstance(parser_for(tiny), HarmonyParser)
    parser = parser_for(plain)
    assert isinstance(parser, PlainParser)
    assert parse(plain, "答え<end>です<return>続き", parser) == [Content("答えです"), STOP]
    assert parse(plain, "途中", PlainParser(plain)) == [Content("途中"), LENGTH]
