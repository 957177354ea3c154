"""Likelihoods are the runtime's own, however the text is cut into steps and whatever was asked before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from edgellm.engines.protocol import Feed, Logits
from edgellm.errors import EngineFailed, PromptTooLong, UsageError
from edgellm.evals.likelihoods import Likelihoods, common, log_probabilities
from edgellm.language.tokenizer import Tokenizer, load_tokenizer
from fake_runtime import FakeRuntime
from tiny_checkpoints import TINY_JA

PROMPT = "質問: 日本で一番高い山はどれですか。\n答え:"
CHOICES = ["富士山", "北岳です", "エベレスト"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(TINY_JA)


def runtime(tokenizer: Tokenizer, **changes: object) -> FakeRuntime:
    settings = {"vocab_tokens": tokenizer.vocab_tokens, "context_tokens": 256} | changes
    return FakeRuntime(**settings)  # type: ignore[arg-type]


def expected(tokenizer: Tokenizer, prompt: str, choices: list[str]) -> list[float]:
    """By one pass over each whole text."""
    begin = [tokenizer.bos_id] if tokenizer.bos_id is not None and tokenizer.specials.adds_bos else []
    texts = [begin + tokenizer.encode(prompt + choice) for choice in choices]
    start = common([begin + tokenizer.encode(prompt), *texts])
    found = []
    for ids in texts:
        (rows,) = runtime(tokenizer).step([Feed(0, ids, "all")])
        found.append(float(log_probabilities(rows[start - 1 : -1], ids[start:]).sum()))
    return found


@pytest.mark.parametrize("can_cut", [True, False])
@pytest.mark.parametrize("step_tokens", [3, 256])
def test_a_likelihood_is_the_sum_of_its_tokens_log_probabilities(
    tokenizer: Tokenizer, can_cut: bool, step_tokens: int
) -> None:
    likelihoods = Likelihoods(runtime(tokenizer, can_cut=can_cut, step_tokens=step_tokens), tokenizer)
    found = likelihoods.of(PROMPT, CHOICES)
    assert [each.nats for each in found] == pytest.approx(expected(tokenizer, PROMPT, CHOICES))
    assert [each.utf8_bytes for each in found] == [9, 12, 15]
    assert all(each.tokens >= 1 and each.nats < 0 for each in found)


@pytest.mark.parametrize("can_cut", [True, False])
def test_what_was_asked_before_changes_nothing(tokenizer: Tokenizer, can_cut: bool) -> None:
    likelihoods = Likelihoods(runtime(tokenizer, can_cut=can_cut), tokenizer)
    other = "例: 空は青い。\n" + PROMPT
    for prompt in (PROMPT, other, other + "富士", PROMPT):
        found = [each.nats for each in likelihoods.of(prompt, CHOICES)]
        assert found == pytest.approx(expected(tokenizer, prompt, CHOICES))


class FailsOnce(FakeRuntime):
    """The step that comes when so many tokens are held fails, once."""

    fails_at = 8

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        if self.held(0) == self.fails_at:
            self.fails_at, self.failures = -1, 1
        return super().step(feeds)


@pytest.mark.parametrize("can_cut", [True, False])
def test_a_step_that_failed_leaves_nothing_wrong_behind(tokenizer: Tokenizer, can_cut: bool) -> None:
    engine = FailsOnce(tokenizer.vocab_tokens, 256, step_tokens=4, can_cut=can_cut)
    likelihoods = Likelihoods(engine, tokenizer)
    with pytest.raises(EngineFailed):
        likelihoods.of(PROMPT, CHOICES)
    found = [each.nats for each in likelihoods.of(PROMPT, CHOICES)]
    assert found == pytest.approx(expected(tokenizer, PROMPT, CHOICES))


def test_tokens_that_straddle_the_end_of_the_prompt_are_counted_for_every_choice(tokenizer: Tokenizer) -> None:
    text = "東京都庁舎"
    begins = [tokenizer.encode(text[:n]) for n in range(1, len(text))]
    inside = next(n for n, ids in enumerate(begins, 1) if ids != tokenizer.encode(text)[: len(ids)])
    prompt, choices = "首都は" + text[:inside], [text[inside:], "大阪"]
    found = Likelihoods(runtime(tokenizer), tokenizer).of(prompt, choices)
    assert [each.nats for each in found] == pytest.approx(expected(tokenizer, prompt, choices))


def test_a_certain_token_is_no_more_than_certain() -> None:
    rows = np.full((1, 4), -1e4, np.float32)
    rows[0, 2] = 30.0
    assert log_probabilities(rows, [2])[0] == 0.0
    assert log_probabilities(np.zeros((1, 4), np.float32), [0])[0] == pytest.approx(-np.log(4))


def test_a_prompt_beyond_the_context_and_an_empty_choice_are_refused(tokenizer: Tokenizer) -> None:
    likelihoods = Likelihoods(runtime(tokenizer, context_tokens=16), tokenizer)
    with pytest.raises(PromptTooLong, match="--context"):
        likelihoods.of(PROMPT * 3, CHOICES)
    with pytest.raises(UsageError, match="adds no token"):
        likelihoods.of("山は", ["富士", ""])
