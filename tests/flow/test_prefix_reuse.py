"""Prefix reuse on real engines: the same answers as without it, and fewer tokens read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.opening import open_runtime
from edgellm.engines.protocol import Feed, Runtime, RuntimeOptions
from edgellm.inference.chat import Message, SamplingOptions
from edgellm.inference.generation import Request
from edgellm.inference.local_chat import LocalChat
from edgellm.inference.prefix_cache import PrefixCache
from edgellm.inference.scheduler import Scheduler
from edgellm.inference.scheduler_options import SchedulerOptions
from edgellm.language.chat_template import ChatTemplate
from edgellm.language.tokenizer import Tokenizer, load_tokenizer
from tiny_checkpoints import TINY_JA, random_llama
from tiny_plamo import random_plamo2

GREEDY = SamplingOptions(temperature=0.0)
CACHED, UNCACHED = SchedulerOptions(), SchedulerOptions(cache_bytes=0)
PLAMO_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|plamo:op|>{{ m.role }}\n<|plamo:msg|>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|plamo:op|>assistant\n<|plamo:msg|>{% endif %}"
)
THINKING_TEMPLATE = (  # asks in other words than it writes answers into the history, as Qwen's do
    "{% for m in messages %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant<|channel|>\n\n{% endif %}"
)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    convert(random_llama(folder / "checkpoint"), folder / "model.gguf", "F16")
    return folder / "model.gguf"


@pytest.fixture(scope="module")
def plamo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a PLaMo 2 checkpoint, its tokenizer and `model.gguf`."""
    folder = random_plamo2(tmp_path_factory.mktemp("plamo") / "checkpoint", layers=2, hidden=128, heads=2, ffn=256)
    convert(folder, folder / "model.gguf", "F16")
    return folder


@pytest.fixture(scope="module")
def strict(llama: Path) -> Iterator[Runtime]:
    """A runtime whose logits depend on nothing but a sequence's own tokens."""
    runtime = open_runtime(llama, RuntimeOptions(512, sequences=4, threads=1, batch_invariant=True))
    assert runtime.info.batch_invariant
    yield runtime
    runtime.close()


@contextmanager
def serving(runtime: Runtime, options: SchedulerOptions) -> Iterator[Scheduler]:
    for sequence in range(runtime.info.sequences):
        runtime.keep(sequence, 0)
    with Scheduler(runtime, options, cache=PrefixCache(runtime, options)) as scheduler:
        yield scheduler


def ids_of(seed: int, count: int, vocab: int = 2000) -> list[int]:
    return np.random.default_rng(seed).integers(10, vocab, count).tolist()


def answers(scheduler: Scheduler, prompts: Sequence[Sequence[int]], count: int) -> tuple[list[list[int]], list[int]]:
    """Of requests at once: the answers, and how many tokens of each prompt were not read."""
    generations = [scheduler.submit(Request(list(ids), GREEDY, count)) for ids in prompts]
    found = [list(generation) for generation in generations]
    ends = [generation.end for generation in generations]
    return found, [end.timing.cached_tokens for end in ends if end is not None and end.timing is not None]


def test_a_shared_system_prompt_is_read_once_and_changes_no_answer(strict: Runtime) -> None:
    system = ids_of(0, 200)
    prompts = [system + ids_of(seed, 5 * seed) for seed in range(1, 7)]
    with serving(strict, UNCACHED) as scheduler:
        expected, none = answers(scheduler, prompts, 12)
    assert none == [0] * 6
    with serving(strict, CACHED) as scheduler:
        found, cached = answers(scheduler, prompts, 12)
        assert scheduler.state().cached_tokens == sum(cached)
        assert scheduler.state().prompt_tokens == sum(map(len, prompts)) - sum(cached)
    assert found == expected
    assert cached == [0, *[200] * 5]


def conversation(runtime: Runtime, options: SchedulerOptions) -> tuple[list[list[int]], list[int], list[int]]:
    """Five turns: the answers, the lengths of the prompts, and how much of each was not read."""
    said, lengths, reused = [], [], []
    history = ids_of(0, 60)
    with serving(runtime, options) as scheduler:
        for turn in range(1, 6):
            prompt = history + ids_of(turn, 20)
            (answer,), cached = answers(scheduler, [prompt], 15)
            history = prompt + answer
            said.append(answer)
            lengths.append(len(prompt))
            reused += cached
    return said, lengths, reused


def test_a_conversation_of_many_turns_stays_the_same_and_reads_only_what_is_new(strict: Runtime) -> None:
    expected, lengths, _ = conversation(strict, UNCACHED)
    found, _, reused = conversation(strict, CACHED)
    assert found == expected
    # Of the turn before: its prompt, and its answer but for the last token if that leaves the same bits behind.
    answer = 14 if strict.info.answers_reusable else 0
    assert reused == [0, *(length + answer for length in lengths[:-1])]


def test_after_reuse_logits_have_the_bits_of_reading_the_whole_prompt(strict: Runtime) -> None:
    system = ids_of(0, 150)
    other = system + ids_of(1, 37)
    for sequence in range(4):
        strict.keep(sequence, 0)
    expected = strict.step([Feed(3, other)])[0].copy()
    strict.keep(3, 0)
    cache = PrefixCache(strict, CACHED)
    first = Request(system + ids_of(2, 20), GREEDY)
    strict.step([Feed(0, first.ids, "none")])
    cache.remember(0, first.ids, first)
    request = Request(other, GREEDY)
    for sequence in (1, 0):  # by a copy, and in place
        assert cache.reuse(sequence, request) == 150
        assert np.array_equal(strict.step([Feed(sequence, other[150:])])[0], expected)
    for sequence in (0, 1):  # by a saved state: what the first one held was saved when it was cut
        strict.keep(sequence, 0)
        cache.forget(sequence)
    assert cache.reuse(2, request) == 150
    assert np.array_equal(strict.step([Feed(2, other[150:])])[0], expected)


def test_a_hybrid_gives_the_same_answers_from_its_checkpoints(plamo: Path) -> None:
    runtime = open_runtime(plamo / "model.gguf", RuntimeOptions(512, sequences=3, threads=1))
    system = ids_of(0, 100)
    prompts = [system + ids_of(seed, 10 * seed) for seed in (1, 2, 3, 4)]
    results = []
    for options in (UNCACHED, CACHED):
        with serving(runtime, options) as scheduler:
            results.append([answers(scheduler, [prompt], 8) for prompt in prompts])
    runtime.close()
    assert [answer for answer, _ in results[1]] == [answer for answer, _ in results[0]]
    assert [cached for _, (cached,) in results[1]] == [0, 0, 100, 100]


TEMPLATES = {
    "tiny-ja": (TINY_JA, (TINY_JA / "chat_template.jinja").read_text()),
    "thinking": (TINY_JA, THINKING_TEMPLATE),
    "plamo": (None, PLAMO_TEMPLATE),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_next_turn_of_a_hybrid_begins_with_the_checkpoint_of_this_one(plamo: Path, name: str) -> None:
    folder, template = TEMPLATES[name]
    tokenizer: Tokenizer = load_tokenizer(folder or plamo)
    runtime = open_runtime(plamo / "model.gguf", RuntimeOptions(512, threads=1))
    with serving(runtime, CACHED) as scheduler:
        chat = LocalChat(scheduler, tokenizer, ChatTemplate(template))
        messages = [
            Message("system", "あなたは親切な案内係です。"),
            Message("user", "奈良の鹿について教えてください。"),
        ]
        for answer in ("鹿は神の使いです。", "公園にいます。"):
            ids = chat.prompt(messages)
            (checkpoint,) = chat.checkpoints(ids, messages)
            messages += [Message("assistant", answer), Message("user", "ほかには？")]
            following = chat.prompt(messages)
            assert following[:checkpoint] == ids[:checkpoint]
            assert checkpoint >= len(ids) - 16  # but for what asks for the answer
    runtime.close()


def test_the_second_turn_of_a_hybrids_chat_reads_only_what_is_new(plamo: Path) -> None:
    runtime = open_runtime(plamo / "model.gguf", RuntimeOptions(512, sequences=2, threads=1))
    with (
        serving(runtime, CACHED) as scheduler,
        LocalChat(scheduler, load_tokenizer(plamo), ChatTemplate(PLAMO_TEMPLATE)) as chat,
    ):
        messages = [Message("user", "奈良の鹿について教えてください。" * 3)]
        ids = chat.prompt(messages)
        (checkpoint,) = chat.checkpoints(ids, messages)
        list(chat.stream(messages, GREEDY, 5))
        messages += [Message("assistant", "はい"), Message("user", "ほかには？")]
        usage = [delta.usage for delta in chat.stream(messages, GREEDY, 5)][-1]
        assert usage is not None
        assert usage.cached_tokens == checkpoint > 20
    runtime.close()
