"""Conversations with calls, as a client sends them and as a chat template takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgellm.errors import UsageError
from edgellm.language.chat_template import ChatTemplate
from edgellm.language.harmony import Content, Ended, ToolCall
from edgellm.language.tokenizer import load_tokenizer
from edgellm.language.tool_dialect import TaggedParser, tool_dialect, turns_for_template
from harmony_events import joined
from tiny_checkpoints import TINY_JA

EVERY_CALL = ChatTemplate("{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c }}{% endfor %}{% endfor %}")
FIRST_CALL = ChatTemplate("{% for m in messages %}{{ m.tool_calls[0] }}{% endfor %}")


def call(number: int, arguments: Any) -> dict[str, Any]:
    return {"id": f"call_{number}", "type": "function", "function": {"name": f"f{number}", "arguments": arguments}}


def result(number: int) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": f"call_{number}", "content": f"結果{number}"}


TALK = [
    {"role": "user", "content": "?"},
    {"role": "assistant", "content": "調べる", "tool_calls": [call(1, '{"町": "京都"}'), call(2, "")]},
    result(2),
    result(1),
]


def test_arguments_reach_the_template_as_objects() -> None:
    calls = turns_for_template(TALK, EVERY_CALL)[1]["tool_calls"]
    assert [each["function"]["arguments"] for each in calls] == [{"町": "京都"}, {}]
    assert TALK[1]["tool_calls"][0] == call(1, '{"町": "京都"}')  # type: ignore[index]


@pytest.mark.parametrize("arguments", ["{", "[1]", 3])
def test_arguments_that_are_no_object_are_refused_with_their_place(arguments: Any) -> None:
    messages = [{"role": "assistant", "content": "", "tool_calls": [call(1, arguments)]}]
    with pytest.raises(UsageError, match=r"^messages\[0\]\.tool_calls\[0\]\.function\.arguments"):
        turns_for_template(messages, EVERY_CALL)


def test_a_template_that_writes_one_call_a_message_gets_one_with_its_result() -> None:
    turns = turns_for_template(TALK, FIRST_CALL)
    assert [turn.get("content") for turn in turns] == ["?", "調べる", "結果1", "", "結果2"]
    assert [turn["tool_calls"][0]["id"] for turn in turns if "tool_calls" in turn] == ["call_1", "call_2"]


def test_llm_jp_s_template_shows_every_call_and_result(shared: Path) -> None:
    folder = shared / "data" / "llm-jp-4-tokenizer"
    tokenizer, template = load_tokenizer(folder), ChatTemplate.load(folder)
    assert template is not None
    assert tool_dialect(template, tokenizer) == "harmony"
    text = tokenizer.decode(template.encode(turns_for_template(TALK, template), tokenizer), skip_special=False)
    for written in ("to=functions.f1", '{"町": "京都"}', "functions.f2 to=assistant", "結果1", "結果2"):
        assert written in text.replace("<|message|> ", "<|message|>")


def test_tags_that_hold_no_call_are_text() -> None:
    tokenizer = load_tokenizer(TINY_JA)
    for text in ("<tool_call>何もない</tool_call>後", "<tool_call>終わらない", "前 < tool", "<tool_ca"):
        parser = TaggedParser(tokenizer)
        events = [event for token in tokenizer.encode(text) for event in parser.feed(token)] + parser.finish()
        assert joined(events) == [Content(text), Ended("length")]


def test_a_call_that_is_cut_short_ends_with_length() -> None:
    tokenizer = load_tokenizer(TINY_JA)
    parser = TaggedParser(tokenizer)
    text = '<tool_call>{"name": "f", "arguments": {"a": '
    events = [event for token in tokenizer.encode(text) for event in parser.feed(token)] + parser.finish()
    assert events[0] == ToolCall(0, "f")
    assert events[-1] == Ended("length")
