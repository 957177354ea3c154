"""From ids to deltas, without a model: the reader is given the ids."""

from __future__ import annotations

from functools import partial

import pytest

from edgellm.inference.answer import AnswerReader, Continuation
from edgellm.inference.chat import Delta, TokenLogprob, Usage
from edgellm.inference.generation import Request, Timing
from edgellm.language.harmony import parser_for
from edgellm.language.tokenizer import Part, Tokenizer, load_tokenizer
from tiny_checkpoints import TINY_JA


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(TINY_JA)


def continued(tokenizer: Tokenizer, prompt: list[int], answer: list[int]) -> str:
    request = Request(prompt)
    reader = AnswerReader(partial(Continuation, tokenizer, prompt), request, [])
    deltas = [delta for token in answer for delta in reader.take(token)] + reader.finish("length")
    return "".join(delta.content for delta in deltas)


def test_a_text_goes_on_inside_a_character_that_the_prompt_began(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("😀")
    assert continued(tokenizer, ids[:-1], ids[-1:]) == "😀"


def test_a_space_with_which_a_text_goes_on_is_kept(tokenizer: Tokenizer) -> None:
    prompt, more = tokenizer.encode("one"), tokenizer.encode("two")
    assert tokenizer.token(more[0]).startswith("▁")
    assert continued(tokenizer, prompt, more) == " two"


def test_a_stop_token_ends_a_text_and_is_no_part_of_it(tokenizer: Tokenizer) -> None:
    reader = AnswerReader(partial(Continuation, tokenizer, [1]), Request([1]), [])
    (stop,) = tokenizer.encode_parts([Part("<|return|>", True)])
    reader.take(stop)
    assert reader.stopped
    (last,) = reader.finish("length")
    assert (last.content, last.finish_reason, last.usage) == ("", "stop", Usage(1, 1))


def test_with_ignore_eos_text_after_a_stop_token_is_read_on(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode_parts([Part("<|channel|>final<|message|>はい<|return|>", True)])
    reader = AnswerReader(partial(parser_for, tokenizer), Request([1], ignore_eos=True), [])
    text = "".join(delta.content for token in ids * 3 for delta in reader.take(token))
    assert text == "はい" * 3
    assert not reader.stopped
    assert reader.finish("length")[-1].finish_reason == "length"


def test_a_tool_call_that_nobody_offered_ends_as_a_plain_stop(tokenizer: Tokenizer) -> None:
    call = '<|channel|>commentary to=functions.f<|constrain|>json<|message|>{"a":1}<|call|>'
    reader = AnswerReader(partial(parser_for, tokenizer), Request([1]), [])
    deltas = [d for token in tokenizer.encode_parts([Part(call, True)]) for d in reader.take(token)]
    assert deltas == []
    assert reader.stopped
    assert reader.finish("stop")[-1].finish_reason == "stop"


def read(tokenizer: Tokenizer, answer: str, stop: list[str]) -> tuple[list[int], list[Delta]]:
    ids = tokenizer.encode_parts([Part(answer, True)])
    reader = AnswerReader(partial(parser_for, tokenizer), Request([1, 2]), stop)
    timing = Timing(0, 0, 0, cached_tokens=2)
    items = [TokenLogprob(token, -float(n)) for n, token in enumerate(ids)]
    return ids, [d for item in items for d in reader.take(item)] + reader.finish("length", timing)


def test_log_probabilities_are_those_of_the_content_alone(tokenizer: Tokenizer) -> None:
    analysis = "<|channel|>analysis<|message|>考える😀<|end|><|start|>assistant"
    ids, deltas = read(tokenizer, analysis + "<|channel|>final<|message|>空は青い😀。<|return|>", [])
    told = [each.token for delta in deltas for each in delta.logprobs]
    assert told == ids[-1 - len(told) : -1]
    assert tokenizer.decode(told) == "空は青い😀。" == "".join(delta.content for delta in deltas)
    assert all(bool(delta.content) >= bool(delta.logprobs) for delta in deltas)


def test_log_probabilities_end_before_a_stop_string(tokenizer: Tokenizer) -> None:
    _, deltas = read(tokenizer, "<|channel|>final<|message|>空は青い。終わり。<|return|>", ["終わ"])
    told = [each.token for delta in deltas for each in delta.logprobs]
    assert tokenizer.decode(told) == "空は青い。" == "".join(delta.content for delta in deltas)


def test_usage_tells_reasoning_and_what_was_cached(tokenizer: Tokenizer) -> None:
    thought = tokenizer.encode("考える")
    ids, deltas = read(tokenizer, "<|channel|>analysis<|message|>考える<|end|>", [])
    assert deltas[-1].usage == Usage(2, len(ids), 2, len(thought))


def test_an_offered_tool_s_call_is_told_piece_by_piece(tokenizer: Tokenizer) -> None:
    call = '<|channel|>commentary to=functions.f<|constrain|>json<|message|>{"町":"京都"}<|call|>'
    reader = AnswerReader(partial(parser_for, tokenizer), Request([1]), [], tools=True)
    deltas = [d for token in tokenizer.encode_parts([Part(call, True)]) for d in reader.take(token)]
    pieces = [piece for delta in deltas for piece in delta.tools]
    assert (pieces[0].name, pieces[0].id[:5]) == ("f", "call_")
    assert "".join(piece.arguments for piece in pieces) == '{"町":"京都"}'
    assert {piece.index for piece in pieces} == {0}
    assert reader.finish("stop")[-1].finish_reason == "tool_calls"
