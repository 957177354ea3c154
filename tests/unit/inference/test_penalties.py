"""logit_bias and the penalties, against transformers' logits processors and a plain count."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edgellm.errors import UsageError
from edgellm.inference.chat import SamplingOptions
from edgellm.inference.sampling import Sampler, check_ranges, check_top_logprobs, token_logprob

VOCAB = 64
PROMPT = [3, 9, 9, 11, 20]
ANSWER = [9, 40, 40, 40, 7]


def greedy(options: SamplingOptions, logits: np.ndarray, prompt: list[int], answer: list[int]) -> int:
    sampler = Sampler(options, prompt)
    for token in answer:
        sampler.take(token)
    return sampler.draw(logits)


def changed(options: SamplingOptions, logits: np.ndarray) -> np.ndarray:
    """The logits that are drawn from, after PROMPT and ANSWER."""
    sampler = Sampler(options, PROMPT)
    for token in ANSWER:
        sampler.take(token)
    assert sampler._penalties is not None
    return sampler._penalties.applied(logits)


@pytest.fixture
def logits() -> np.ndarray:
    return (np.random.default_rng(2).standard_normal(VOCAB) * 4).astype(np.float32)


@pytest.mark.parametrize("penalty", [0.5, 1.3, 10.0])
def test_the_repetition_penalty_is_that_of_transformers(logits: np.ndarray, penalty: float) -> None:
    torch = pytest.importorskip("torch")
    processors = pytest.importorskip("transformers.generation.logits_process")
    reference = processors.RepetitionPenaltyLogitsProcessor(penalty)
    wanted = reference(torch.tensor([PROMPT + ANSWER]), torch.tensor(logits[None]))[0].numpy()
    assert np.array_equal(changed(SamplingOptions(repetition_penalty=penalty), logits), wanted)


def test_the_bias_comes_before_the_repetition_penalty_as_in_transformers(logits: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    processors = pytest.importorskip("transformers.generation.logits_process")
    bias = {9: 5.0, 50: -100.0, 3: 2.5}
    ids = torch.tensor([PROMPT + ANSWER])
    scores = processors.SequenceBiasLogitsProcessor({(k,): v for k, v in bias.items()})(ids, torch.tensor(logits[None]))
    wanted = processors.RepetitionPenaltyLogitsProcessor(1.7)(ids, scores)[0].numpy()
    found = changed(SamplingOptions(repetition_penalty=1.7, logit_bias=bias), logits)
    assert np.allclose(found, wanted, rtol=1e-6)


def test_frequency_and_presence_count_the_answer_alone(logits: np.ndarray) -> None:
    counts = Counter(ANSWER)
    wanted = np.array([each - 0.5 * counts[i] - 1.25 * (i in counts) for i, each in enumerate(logits)])
    found = changed(SamplingOptions(frequency_penalty=0.5, presence_penalty=1.25), logits)
    assert np.allclose(found, wanted, atol=1e-6)
    assert np.array_equal(found[PROMPT[:1]], logits[PROMPT[:1]])


def test_tokens_of_prompt_and_answer_that_were_drawn_change_what_is_drawn_next() -> None:
    logits = np.zeros(VOCAB, np.float32)
    logits[[9, 40, 7]] = [3.0, 2.9, 2.0]
    assert greedy(SamplingOptions(temperature=0), logits, PROMPT, []) == 9
    assert greedy(SamplingOptions(temperature=0, repetition_penalty=2.0), logits, PROMPT, []) == 40
    assert greedy(SamplingOptions(temperature=0, presence_penalty=2.0), logits, PROMPT, []) == 9
    assert greedy(SamplingOptions(temperature=0, presence_penalty=2.0), logits, PROMPT, [9]) == 40
    assert greedy(SamplingOptions(temperature=0, frequency_penalty=1.0), logits, PROMPT, [9, 9, 40, 40]) == 7


def test_a_bias_of_minus_100_bans_and_of_100_forces(logits: np.ndarray) -> None:
    best = int(np.argmax(logits))
    banned = Sampler(SamplingOptions(temperature=1.0, top_p=1.0, seed=3, logit_bias={best: -100}))
    assert best not in {banned.draw(logits) for _ in range(300)}
    forced = Sampler(SamplingOptions(temperature=1.0, top_p=1.0, seed=3, logit_bias={5: 100}))
    assert {forced.draw(logits) for _ in range(50)} == {5}


def test_no_setting_writes_into_the_logits_that_are_handed_in(logits: np.ndarray) -> None:
    before = logits.copy()
    logits.flags.writeable = False
    for options in (SamplingOptions(seed=1), SamplingOptions(repetition_penalty=1.5, logit_bias={1: 3})):
        Sampler(options, PROMPT).draw(logits)
    assert np.array_equal(logits, before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (SamplingOptions(repetition_penalty=0.0), "repetition_penalty is 0.0; it must be above 0"),
        (SamplingOptions(repetition_penalty=float("nan")), "repetition_penalty"),
        (SamplingOptions(repetition_penalty=float("inf")), "repetition_penalty"),
        (SamplingOptions(frequency_penalty=2.1), "frequency_penalty is 2.1; it must lie between -2 and 2"),
        (SamplingOptions(presence_penalty=-2.1), "presence_penalty"),
        (SamplingOptions(logit_bias={3: 101}), "logit_bias gives token 3 101"),
        (SamplingOptions(logit_bias={3: float("nan")}), "logit_bias"),
        (SamplingOptions(logit_bias={-1: 1}), "token -1"),
        (SamplingOptions(logit_bias={VOCAB: 1}), "vocabulary of 64"),
    ],
)
def test_penalties_outside_their_ranges_are_refused_by_name(options: SamplingOptions, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_ranges(options, VOCAB)


@pytest.mark.parametrize("top", [0, 1, 5, 20, VOCAB])
def test_log_probabilities_are_a_log_softmax_before_any_setting(logits: np.ndarray, top: int) -> None:
    torch = pytest.importorskip("torch")
    wanted = torch.log_softmax(torch.tensor(logits, dtype=torch.float64), 0)
    found = token_logprob(logits, 17, top)
    assert found.token == 17
    assert found.logprob == pytest.approx(float(wanted[17]), abs=1e-5)
    best = torch.topk(wanted, top)
    assert [token for token, _ in found.top] == best.indices.tolist()
    assert [value for _, value in found.top] == pytest.approx(best.values.tolist(), abs=1e-5)


def test_a_token_without_any_probability_has_the_logarithm_of_zero() -> None:
    logits = np.array([0.0, -np.inf, 1.0], np.float32)
    assert token_logprob(logits, 1, 0).logprob == -np.inf


@pytest.mark.parametrize("top", [-1, 21])
def test_more_log_probabilities_than_openai_gives_are_refused(top: int) -> None:
    with pytest.raises(UsageError, match="top_logprobs"):
        check_top_logprobs(top)
