"""Fidelity against values computed by hand, by scipy in float64, and against a runtime's own twin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import log_softmax as scipy_log_softmax
from scipy.stats import entropy

from edgellm.errors import UsageError
from edgellm.measures.fidelity import Document, log_softmax, windows
from edgellm.measures.fidelity_figures import compare
from fake_runtime import FakeRuntime
from table_runtime import TableRuntime, everywhere, random_documents


def test_a_vocabulary_of_three_by_hand() -> None:
    reference, artifact = everywhere(1 / 2, 1 / 4, 1 / 4), everywhere(1 / 4, 1 / 2, 1 / 4)
    found = compare(reference, {"q": artifact}, [Document([2, 0, 0, 0, 0], utf8_bytes=16)])["q"]
    assert (found.tokens, found.documents) == (4, 1)
    # ½ ln(½ ∕ ¼) + ¼ ln(¼ ∕ ½) + 0
    assert found.mean_kld.value == pytest.approx(math.log(2) / 4, rel=1e-6)
    assert found.median_kld.value == found.p999_kld.value == pytest.approx(math.log(2) / 4, rel=1e-6)
    assert found.same_top_percent.value == 0.0
    assert found.reference_perplexity == pytest.approx(2.0)
    assert found.perplexity == pytest.approx(4.0)
    assert found.perplexity_ratio.value == pytest.approx(2.0)
    assert found.bits_per_byte.value == pytest.approx(4 * 2 / 16)
    assert found.reference_bits_per_byte == pytest.approx(4 * 1 / 16)


def test_the_divergence_is_from_the_reference_to_the_artifact() -> None:
    even, skewed = everywhere(0.5, 0.5), everywhere(0.9, 0.1)
    documents = [Document([0, 1, 0], 2)]
    assert compare(even, {"q": skewed}, documents)["q"].mean_kld.value == pytest.approx(0.510826, rel=1e-5)
    assert compare(skewed, {"q": even}, documents)["q"].mean_kld.value == pytest.approx(0.368064, rel=1e-5)


def test_the_same_top_token_is_counted_by_position() -> None:
    # The two agree after token 0 and disagree after token 1.
    reference = TableRuntime(np.log([[0.7, 0.3], [0.8, 0.2]]))
    artifact = TableRuntime(np.log([[0.6, 0.4], [0.1, 0.9]]))
    found = compare(reference, {"q": artifact}, [Document([0, 0, 0, 1, 0], 4)])["q"]
    assert found.same_top_percent.value == 75.0


def test_every_measure_agrees_with_scipy_in_float64() -> None:
    vocab, rng = 60, np.random.default_rng(11)
    table = rng.standard_normal((vocab, vocab)) * 3
    noisy = table + rng.standard_normal((vocab, vocab)) * 0.4
    documents = random_documents(vocab, count=6, tokens=300)
    found = compare(TableRuntime(table), {"q": TableRuntime(noisy)}, documents, window_tokens=128)["q"]

    before = np.concatenate([d.ids[:-1] for d in documents])
    after = np.concatenate([d.ids[1:] for d in documents])
    log_p, log_q = (scipy_log_softmax(t.astype(np.float64), axis=1)[before] for t in (table, noisy))
    kld = entropy(np.exp(log_p), np.exp(log_q), axis=1)
    nats, own = (-rows[np.arange(len(after)), after] for rows in (log_q, log_p))
    assert found.tokens == len(after)
    assert found.mean_kld.value == pytest.approx(kld.mean(), rel=1e-5)
    assert found.median_kld.value == pytest.approx(np.median(kld), rel=1e-5)
    assert found.p999_kld.value == pytest.approx(np.quantile(kld, 0.999), rel=1e-5)
    assert found.same_top_percent.value == pytest.approx(100 * np.mean(log_p.argmax(axis=1) == log_q.argmax(axis=1)))
    assert found.perplexity == pytest.approx(math.exp(nats.mean()), rel=1e-5)
    assert found.perplexity_ratio.value == pytest.approx(math.exp(nats.mean() - own.mean()), rel=1e-5)
    assert found.bits_per_byte.value == pytest.approx(nats.sum() / math.log(2) / (6 * 900), rel=1e-5)
    assert found.reference_bits_per_byte == pytest.approx(own.sum() / math.log(2) / (6 * 900), rel=1e-5)


def test_a_runtime_compared_with_its_twin_shows_no_difference() -> None:
    documents = random_documents(512, count=4, tokens=90)
    found = compare(FakeRuntime(), {"twin": FakeRuntime()}, documents, window_tokens=64)["twin"]
    for interval in (found.mean_kld, found.median_kld, found.p999_kld):
        assert (interval.value, interval.low, interval.high) == (0.0, 0.0, 0.0)
    assert (found.perplexity_ratio.value, found.perplexity_ratio.low, found.perplexity_ratio.high) == (
        1.0,
        1.0,
        1.0,
    )
    assert (found.same_top_percent.value, found.same_top_percent.low) == (100.0, 100.0)
    assert found.perplexity == found.reference_perplexity
    assert found.bits_per_byte.value == pytest.approx(found.reference_bits_per_byte)


def test_several_artifacts_in_one_pass_are_measured_as_if_alone() -> None:
    rng = np.random.default_rng(2)
    table = rng.standard_normal((30, 30))
    noisy = [table + rng.standard_normal((30, 30)) * s for s in (0.1, 1.0)]
    documents = random_documents(30, count=3, tokens=50)
    both = compare(TableRuntime(table), {"a": TableRuntime(noisy[0]), "b": TableRuntime(noisy[1])}, documents)
    for name, other in zip("ab", noisy, strict=True):
        assert both[name] == compare(TableRuntime(table), {name: TableRuntime(other)}, documents)[name]
    assert both["a"].mean_kld.high < both["b"].mean_kld.low


@pytest.mark.parametrize("tokens", [1, 2, 9, 10, 11, 12, 20, 21, 25, 40, 41])
def test_windows_predict_every_token_but_the_first_exactly_once(tokens: int) -> None:
    ids = list(range(100, 100 + tokens))
    cuts = windows(ids, 10)
    assert [target for _, targets in cuts for target in targets] == ids[1:]
    for inputs, targets in cuts:
        assert 1 <= len(inputs) <= 10
        assert list(targets) == [i + 1 for i in inputs]  # ids rise by one, so each target follows its input


def test_each_window_starts_from_an_empty_sequence() -> None:
    runtime = everywhere(0.5, 0.3, 0.2)
    ids = [0, 1, 2, 1, 2, 1, 2, 0]
    compare(runtime, {"q": everywhere(0.4, 0.3, 0.3)}, [Document(ids, 8)], window_tokens=3)
    assert runtime.fed == [[0, 1, 2], [1, 2, 1], [2]]


def test_how_a_window_is_cut_into_steps_does_not_change_the_result() -> None:
    documents = random_documents(512, count=3, tokens=100)
    whole = compare(FakeRuntime(), {"q": FakeRuntime(step_tokens=256)}, documents, window_tokens=64)["q"]
    parts = compare(FakeRuntime(step_tokens=7), {"q": FakeRuntime(step_tokens=5)}, documents, window_tokens=64)["q"]
    assert whole == parts


def test_a_document_counts_by_its_tokens() -> None:
    # After token 0 the artifact is exact, after token 1 it is not; the long document holds only zeros.
    reference = TableRuntime(np.log([[0.5, 0.5], [0.5, 0.5]]))
    artifact = TableRuntime(np.log([[0.5, 0.5], [0.9, 0.1]]))
    documents = [Document([0] * 91, 90), Document([1] * 11, 10)]
    found = compare(reference, {"q": artifact}, documents)["q"]
    assert found.mean_kld.value == pytest.approx(0.1 * 0.510826, rel=1e-5)
    assert found.mean_kld.low < found.mean_kld.value < found.mean_kld.high


def test_fewer_documents_widen_the_interval() -> None:
    rng = np.random.default_rng(4)
    table = rng.standard_normal((40, 40)) * 2
    reference, artifact = TableRuntime(table), TableRuntime(table + rng.standard_normal((40, 40)))
    documents = random_documents(40, count=64, tokens=40)
    many, few = (compare(reference, {"q": artifact}, d)["q"].mean_kld for d in (documents, documents[:8]))
    assert few.high - few.low > 1.5 * (many.high - many.low)


def test_another_vocabulary_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="Q4_K_M has 3 tokens and the reference 2"):
        compare(everywhere(0.5, 0.5), {"Q4_K_M": everywhere(0.4, 0.3, 0.3)}, [Document([0, 1], 1)])


@pytest.mark.parametrize("documents", [[], [Document([0], 0)], [Document([], 0)]])
def test_a_text_with_nothing_to_predict_is_refused(documents: list[Document]) -> None:
    with pytest.raises(UsageError, match="no token to predict"):
        compare(everywhere(0.5, 0.5), {"q": everywhere(0.5, 0.5)}, documents)


def test_documents_with_nothing_to_predict_are_left_out() -> None:
    documents = [Document([0], 0), Document([0, 1, 1], 4)]
    assert compare(everywhere(0.5, 0.5), {"q": everywhere(0.5, 0.5)}, documents)["q"].documents == 1


def test_progress_is_told_after_each_document() -> None:
    told: list[tuple[int, int]] = []
    documents = random_documents(2, count=3, tokens=4)
    compare(
        everywhere(0.5, 0.5),
        {"q": everywhere(0.5, 0.5)},
        documents,
        on_progress=lambda i, n: told.append((i, n)),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_log_softmax_stands_large_and_very_uneven_logits() -> None:
    logits = np.array([[1e4, 1e4 - 1, -1e4], [0, 0, -80]], np.float32)
    expected = scipy_log_softmax(logits.astype(np.float64), axis=1)
    assert np.allclose(log_softmax(logits), expected, rtol=1e-6, atol=1e-6)
