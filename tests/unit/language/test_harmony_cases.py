"""A table of answers in Harmony and its LLM-jp dialect, whole, cut anywhere, and cut into any tokens."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.language.harmony import (
    Content,
    Ended,
    Event,
    HarmonyParser,
    Reasoning,
    ToolArguments,
    ToolCall,
)
from edgellm.language.tokenizer import Part, Tokenizer, load_tokenizer
from harmony_events import joined
from tiny_checkpoints import TINY_JA

STOP, TOOLS, LENGTH = Ended("stop"), Ended("tool_calls"), Ended("length")
ARGUMENTS = '{"town": "京都"}'
# `S` begins a message, `A` is one of reasoning, `F` and `C` are headers of content.
S, F, C = "<|start|>assistant", "<|channel|>final<|message|>", "<|channel|>commentary<|message|>"
A = "<|channel|>analysis<|message|>考える。<|end|>"
# A call with the recipient beside the channel (LLM-jp-4, gpt-oss as it writes) or beside the role (templates, 4.1).
BESIDE_CHANNEL = "<|channel|>commentary to=functions.{}<|constrain|>json<|message|>{}"
BESIDE_ROLE = " to=functions.{}<|channel|>commentary <|constrain|>json<|message|>{}"


def called(*names: str) -> list[Event]:
    return [e for n, name in enumerate(names) for e in (ToolCall(n, name), ToolArguments(n, ARGUMENTS))]


def call(form: str, name: str = "weather") -> str:
    return form.format(name, ARGUMENTS)


WELL_FORMED: dict[str, tuple[str, list[Event]]] = {
    "final alone": (f"{F}はい。<|return|>", [Content("はい。"), STOP]),
    "reasoning, final": (f"{A}{S}{F}答え\nだ。<|return|>", [Reasoning("考える。"), Content("答え\nだ。"), STOP]),
    "reasoning twice": (f"{A}{S}{A}{S}{F}答え<|return|>", [Reasoning("考える。考える。"), Content("答え"), STOP]),
    "reasoning after final": (f"{F}答え<|end|>{S}{A}<|return|>", [Content("答え"), Reasoning("考える。"), STOP]),
    "reasoning between": (
        f"{C}先に。<|end|>{S}{A}{S}{F}後で。<|return|>",
        [Content("先に。"), Reasoning("考える。"), Content("後で。"), STOP],
    ),
    "final twice": (f"{F}一。<|end|>{S}{F}二。<|return|>", [Content("一。二。"), STOP]),
    "final ended by end": (f"{F}はい<|end|>", [Content("はい"), LENGTH]),
    "final ended by endoftext": (f"{F}はい<|endoftext|>", [Content("はい"), STOP]),
    "white space kept": (f"{F} \n 前後 \n<|return|>", [Content(" \n 前後 \n"), STOP]),
    "empty reasoning": (f"<|channel|>analysis<|message|><|end|>{S}{F}答え<|return|>", [Content("答え"), STOP]),
    "empty final": (f"{A}{S}{F}<|return|>", [Reasoning("考える。"), STOP]),
    "spaces in headers": (
        "<|channel|> analysis<|message|>考え<|end|><|start|> assistant<|channel|> final <|message|>答え<|return|>",
        [Reasoning("考え"), Content("答え"), STOP],
    ),
    "constrained final": (f"<|channel|>final <|constrain|>json<|message|>{ARGUMENTS}<|return|>",
                          [Content(ARGUMENTS), STOP]),
    "constrained final without a space": (f"<|channel|>final<|constrain|>json<|message|>{ARGUMENTS}<|return|>",
                                          [Content(ARGUMENTS), STOP]),
    "preamble": (f"{C}調べます。<|end|>{S}{F}晴れ<|return|>", [Content("調べます。晴れ"), STOP]),
    "preamble, call": (f"{A}{S}{C}調べます。<|end|>{S}{call(BESIDE_CHANNEL)}<|call|>",
                       [Reasoning("考える。"), Content("調べます。"), *called("weather"), TOOLS]),
    "call at once, beside the channel": (f"{call(BESIDE_CHANNEL)}<|call|>", [*called("weather"), TOOLS]),
    "call at once, beside the role": (f"{call(BESIDE_ROLE)}<|call|>", [*called("weather"), TOOLS]),
    "call, beside the channel": (f"{A}{S}{call(BESIDE_CHANNEL)}<|call|>",
                                 [Reasoning("考える。"), *called("weather"), TOOLS]),
    "call, beside the role": (f"{A}{S}{call(BESIDE_ROLE)}<|call|>",
                              [Reasoning("考える。"), *called("weather"), TOOLS]),
    "call, type as a word": (f"{S} to=functions.weather<|channel|>commentary json<|message|>{ARGUMENTS}<|call|>",
                             [*called("weather"), TOOLS]),
    "call, both in the channel": (
        f"<|channel|>commentary to=functions.weather json<|message|>{ARGUMENTS}<|call|>", [*called("weather"), TOOLS],
    ),
    "call, space before the type": (
        f"<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{ARGUMENTS}<|call|>",
        [*called("weather"), TOOLS],
    ),
    "call, no type": (f"<|channel|>commentary to=functions.weather<|message|>{ARGUMENTS}<|call|>",
                      [*called("weather"), TOOLS]),
    "call, type as detokenized": (
        f"<|start|> assistant to=functions.weather<|channel|> commentary <|constrain|>  json<|message|>{ARGUMENTS}"
        "<|call|>", [*called("weather"), TOOLS],
    ),
    "call in the analysis channel": (
        f"<|channel|>analysis to=functions.weather <|constrain|>json<|message|>{ARGUMENTS}<|call|>",
        [*called("weather"), TOOLS],
    ),
    "built-in tool": ("<|channel|>analysis to=python code<|message|>1 + 1<|call|>",
                      [ToolCall(0, "python"), ToolArguments(0, "1 + 1"), TOOLS]),
    "tool with a dot": (f"<|channel|>commentary to=browser.search<|constrain|>json<|message|>{ARGUMENTS}<|call|>",
                        [*called("browser.search"), TOOLS]),
    "tool with a Japanese name": (f"{call(BESIDE_CHANNEL, '天気')}<|call|>", [*called("天気"), TOOLS]),
    "two calls, beside the channel": (f"{call(BESIDE_CHANNEL, 'a')}<|end|>{S}{call(BESIDE_CHANNEL, 'b')}<|call|>",
                                      [*called("a", "b"), TOOLS]),
    "two calls, beside the role": (f"{A}{S}{call(BESIDE_ROLE, 'a')}<|end|>{S}{call(BESIDE_ROLE, 'b')}<|call|>",
                                   [Reasoning("考える。"), *called("a", "b"), TOOLS]),
    "two calls, one in each form": (f"{call(BESIDE_CHANNEL, 'a')}<|end|>{S}{call(BESIDE_ROLE, 'b')}<|call|>",
                                    [*called("a", "b"), TOOLS]),
    "three calls of one tool": (
        f"{call(BESIDE_ROLE, 'a')}<|end|>{S}{call(BESIDE_ROLE, 'a')}<|end|>{S}{call(BESIDE_ROLE, 'a')}<|call|>",
        [*called("a", "a", "a"), TOOLS],
    ),
    "calls with reasoning between": (
        f"{call(BESIDE_CHANNEL, 'a')}<|end|>{S}{A}{S}{call(BESIDE_CHANNEL, 'b')}<|call|>",
        [*called("a"), Reasoning("考える。"), ToolCall(1, "b"), ToolArguments(1, ARGUMENTS), TOOLS],
    ),
    "call, then final": (f"{call(BESIDE_CHANNEL)}<|end|>{S}{F}済み<|return|>",
                         [*called("weather"), Content("済み"), TOOLS]),
    "call ended by return": (f"{call(BESIDE_CHANNEL)}<|return|>", [*called("weather"), TOOLS]),
    "call without arguments": ("<|channel|>commentary to=functions.now<|constrain|>json<|message|>{}<|call|>",
                               [ToolCall(0, "now"), ToolArguments(0, "{}"), TOOLS]),
    "nothing after call": (f"{call(BESIDE_CHANNEL)}<|call|>{S}{F}続き<|return|>", [*called("weather"), TOOLS]),
    "the tool's answer is not the model's": (
        f"{call(BESIDE_CHANNEL)}<|end|><|start|>functions.weather to=assistant{C}晴れ<|end|>",
        [*called("weather"), TOOLS],
    ),
    "addressed to the reader": ("<|channel|>final to=user<|message|>はい<|return|>", [Content("はい"), STOP]),
    "addressed to all": ("<|channel|>commentary to=all<|message|>はい<|return|>", [Content("はい"), STOP]),
}  # fmt: skip

MALFORMED: dict[str, tuple[str, list[Event]]] = {
    "no header": ("こんにちは<|return|>", [Content("こんにちは"), STOP]),
    "no header, words of headers": ("user guide<|return|>", [Content("user guide"), STOP]),
    "no header, one word of headers": ("tool<|return|>", [Content("tool"), STOP]),
    "no header, beginning of a word": ("ass<|channel|>final<|message|>はい<|return|>", [Content("assはい"), STOP]),
    "no channel": ("<|message|>はい<|return|>", [Content("はい"), STOP]),
    "no message": ("<|channel|>final はい<|return|>", [Content("はい"), STOP]),
    "no message, Latin text": ("<|channel|>final yes, sir<|return|>", [Content("yes, sir"), STOP]),
    "no message, reasoning": (f"<|channel|>analysis 考え<|end|>{S}{F}答え<|return|>",
                              [Reasoning("考え"), Content("答え"), STOP]),
    "no message, call": (f"<|channel|>commentary to=functions.weather<|constrain|>json{ARGUMENTS}<|call|>",
                         [*called("weather"), TOOLS]),
    "no start": (f"{A}assistant{F}はい<|return|>", [Reasoning("考える。"), Content("はい"), STOP]),
    "no start, no role": (f"{A}{F}はい<|return|>", [Reasoning("考える。"), Content("はい"), STOP]),
    "no end": (f"<|channel|>analysis<|message|>考え{S}{F}答え<|return|>", [Reasoning("考え"), Content("答え"), STOP]),
    "no end, no start": (f"<|channel|>analysis<|message|>考え{F}答え<|return|>",
                         [Reasoning("考え"), Content("答え"), STOP]),
    "channel twice": ("<|channel|>analysis<|channel|>analysis<|message|>考え<|return|>", [Reasoning("考え"), STOP]),
    "channel changed": ("<|channel|>analysis<|channel|>final<|message|>答え<|return|>", [Content("答え"), STOP]),
    "channel after Latin text": (f"<|channel|>final yes, sir{F}はい<|return|>", [Content("yes, sirはい"), STOP]),
    "recipient that does not end": (f"<|channel|>final to={'a' * 300}",
                                    [ToolCall(0, "a" * 248), ToolArguments(0, "a" * 52), LENGTH]),
    "message twice": (f"{F}<|message|>はい<|return|>", [Content("はい"), STOP]),
    "end twice": (f"{F}はい<|end|><|end|>", [Content("はい"), LENGTH]),
    "marks only": ("<|start|><|channel|><|constrain|><|message|><|end|>", [LENGTH]),
    "unknown channel": ("<|channel|>poem<|message|>はい<|return|>", [Content("はい"), STOP]),
    "constrain inside a body": (f"{F}は<|constrain|>い<|return|>", [Content("はい"), STOP]),
    "reserved token inside a body": (f"{F}は<|sep|>い<|return|>", [Content("はい"), STOP]),
    "no tool named": ("<|channel|>commentary to=functions.<|message|>{}<|call|>", [Content("{}"), STOP]),
    "recipient empty": ("<|channel|>commentary to=<|message|>はい<|return|>", [Content("はい"), STOP]),
    "arguments that are no JSON": ("<|channel|>commentary to=functions.f<|message|>町は京都<|call|>",
                                   [ToolCall(0, "f"), ToolArguments(0, "町は京都"), TOOLS]),
    "arguments cut": ('<|channel|>commentary to=functions.f<|message|>{"町": "京',
                      [ToolCall(0, "f"), ToolArguments(0, '{"町": "京'), LENGTH]),
    "cut in the reasoning": ("<|channel|>analysis<|message|>途中", [Reasoning("途中"), LENGTH]),
    "cut before the channel's name": ("<|channel|>", [LENGTH]),
    "cut in a recipient": (f"{A}{S} to=functions.wea", [Reasoning("考える。"), LENGTH]),
    "cut in the first recipient": (" to=functions.wea", [LENGTH]),
    "cut before a type": ("<|channel|>commentary to=functions.f js", [LENGTH]),
    "plays the user": (f"{F}はい<|end|><|start|>user<|message|>次<|end|>", [Content("はい"), STOP]),
    "plays the user in a channel": (f"{F}はい<|end|><|start|>user{C}次<|end|>", [Content("はい"), STOP]),
}  # fmt: skip
CASES = WELL_FORMED | MALFORMED


@cache
def tiny() -> Tokenizer:
    return load_tokenizer(TINY_JA)


@cache
def vocabulary() -> dict[str, int]:
    return {tiny().token(i): i for i in range(tiny().vocab_tokens)}


def events(ids: list[int], finish: bool = True) -> list[Event]:
    parser = HarmonyParser(tiny())
    return joined([*(e for i in ids for e in parser.feed(i)), *(parser.finish() if finish else ())])


def text_of(found: list[Event]) -> str:
    return "".join(e.text for e in found if isinstance(e, (Reasoning, Content, ToolArguments)))


def as_written(text: str) -> list[int]:
    return tiny().encode_parts([Part(text, True)])


def in_bytes(text: str) -> list[int]:
    """Ids of untrusted text, a token for every byte."""
    return [vocabulary()[f"<0x{b:02X}>"] for b in text.encode()]


def in_characters(text: str) -> list[int]:
    """Ids of untrusted text, a token for every character that has one. A space at the beginning has not: the
    piece for it would be taken for SentencePiece's dummy space."""
    return [
        i
        for at, c in enumerate(text)
        for i in ([vocabulary()[c]] if c in vocabulary() and (at or c != " ") else in_bytes(c))
    ]


def finely(text: str) -> list[int]:
    """Trusted text whose ordinary part is cut into bytes."""
    names, at, ids = tiny().specials.pattern, 0, list[int]()
    for match in names.finditer(text):
        ids += [*in_bytes(text[at : match.start()]), tiny().special_ids[match[0]]]
        at = match.end()
    return ids + in_bytes(text[at:])


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(CASES) >= 60
    assert not WELL_FORMED.keys() & MALFORMED.keys()


@pytest.mark.parametrize("name", CASES)
def test_an_answer_means_the_same_whatever_tokens_spell_it(name: str) -> None:
    text, expected = CASES[name]
    assert events(as_written(text)) == expected
    assert events(finely(text)) == expected


@pytest.mark.parametrize("name", WELL_FORMED)
def test_an_answer_cut_anywhere_has_said_what_it_had_said_so_far(name: str) -> None:
    text, expected = WELL_FORMED[name]
    ids = finely(text)
    for cut in range(len(ids)):
        so_far = events(ids[:cut], finish=False)
        *told, ended = events(ids[:cut])
        ends_here = LENGTH if Ended not in map(type, so_far) else so_far[-1]
        assert ended == ends_here
        # The end adds at most the replacement for half a character, and no piece of a header.
        assert text_of(expected).startswith(text_of(told).removesuffix("�"))
        assert [type(e) for e in told] == [type(e) for e in expected[: len(told)]]


@pytest.mark.parametrize("name", WELL_FORMED)
def test_what_an_answer_quotes_is_no_mark(name: str) -> None:
    """The whole answer as text inside an answer: what a user had typed, say, and the model repeats."""
    text, _ = WELL_FORMED[name]
    ids = [*as_written(F), *tiny().encode(text), *as_written("<|return|>")]
    assert events(ids) == [Content(text), STOP]


MARKS = ["<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>", "<|sep|>", "<|return|>", "<|call|>"]
WORDS = ["assistant", "user", "tool", "to=functions.f ", "to=", "final", "analysis", "commentary ", "json", "as", " "]
STREAMS = st.lists(st.sampled_from([*MARKS[:6] * 3, *MARKS[6:], *WORDS, *["鱻"] * 6]), max_size=24)
CUTTINGS = st.lists(st.sampled_from([as_written, in_bytes, in_characters]), min_size=24, max_size=24)


@given(STREAMS, CUTTINGS)
@settings(deadline=None, max_examples=400)
def test_any_stream_gives_the_same_events_whatever_tokens_spell_it(stream: list[str], cuttings: list[object]) -> None:
    ids: list[int] = []
    for segment, cut in zip(segments(stream), cuttings, strict=False):
        assert callable(cut)
        ids += as_written(segment) if segment in MARKS else cut(segment)
    whole = events(as_written("".join(stream)))
    assert events(ids) == whole
    assert [e for e in whole if isinstance(e, Ended)] == whole[-1:]


@given(STREAMS)
@settings(deadline=None, max_examples=400)
def test_text_of_any_stream_is_neither_lost_nor_doubled(stream: list[str]) -> None:
    """Each 鱻 is told from the others by its number; no header can hold one but behind `to=`."""
    marked = [f"鱻{n}。" if s == "鱻" else s.replace("to=", "to= ") for n, s in enumerate(stream)]
    parser, fed, found = HarmonyParser(tiny()), "", list[Event]()
    for segment in segments(marked):
        fed += segment
        found += [e for i in as_written(segment) for e in parser.feed(i)]
        if found and isinstance(found[-1], Ended):
            break
    found += parser.finish()
    said = text_of(found)
    numbers = [n for n in range(len(stream)) if f"鱻{n}。" in fed]
    assert [said.count(f"鱻{n}。") for n in numbers] == [1] * len(numbers)
    assert is_subsequence(said, fed)


def segments(stream: list[str]) -> list[str]:
    """The stream with neighbouring texts put together."""
    out: list[str] = []
    for part in stream:
        if part not in MARKS and out and out[-1] not in MARKS:
            out[-1] += part
        else:
            out.append(part)
    return out


def is_subsequence(part: str, whole: str) -> bool:
    rest = iter(whole)
    return all(c in rest for c in part)
