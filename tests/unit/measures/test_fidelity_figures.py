"""Figures of fidelity by hand and against numpy, by kind of text, and their differences in pairs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from edgellm.engines.protocol import Feed, Logits
from edgellm.errors import UsageError
from edgellm.measures import fidelity
from edgellm.measures.fidelity import Document, kld_change, tallies
from edgellm.measures.fidelity_change import Sample, change
from edgellm.measures.fidelity_figures import QUANTILES, RATIOS, compare, summary
from fake_runtime import FakeRuntime
from table_runtime import TableRuntime, everywhere, random_documents


def test_the_change_of_the_right_token_s_probability_by_hand() -> None:
    """Three tokens of chance ½ that became ¼, and one of ¼ that became ½: in percent points, as llama-perplexity."""
    reference, artifact = everywhere(1 / 2, 1 / 4, 1 / 4), everywhere(1 / 4, 1 / 2, 1 / 4)
    found = compare(reference, {"q": artifact}, [Document([2, 0, 0, 0, 1], 10, 5)])["q"]
    assert found.mean_delta_p_percent is not None
    assert found.rms_delta_p_percent is not None
    assert found.mean_delta_p_percent.value == pytest.approx((3 * -25 + 25) / 4, rel=1e-5)
    assert found.rms_delta_p_percent.value == pytest.approx(25, rel=1e-5)


def test_bits_are_counted_by_byte_and_by_character() -> None:
    found = compare(everywhere(0.5, 0.5), {"q": everywhere(0.25, 0.75)}, [Document([1, 0, 0, 0], 9, 3)])["q"]
    assert found.bits_per_character is not None
    assert found.bits_per_byte.value == pytest.approx(3 * 2 / 9)
    assert found.bits_per_character.value == pytest.approx(3 * 2 / 3)
    assert found.reference_bits_per_character == pytest.approx(1.0)


def test_without_a_count_of_characters_there_are_no_bits_by_character() -> None:
    found = compare(everywhere(0.5, 0.5), {"q": everywhere(0.25, 0.75)}, [Document([1, 0, 0], 9)])["q"]
    assert found.bits_per_character is None
    assert found.reference_bits_per_character is None


def sample(noise: float, documents: list[Document], seed: int = 3) -> Sample:
    """An artifact whose logits are off by about so much from a reference that is the same for every sample."""
    table = np.random.default_rng(1).standard_normal((40, 40)) * 2
    off = table + np.random.default_rng(seed).standard_normal((40, 40)) * noise
    own, found, kept = tallies(TableRuntime(table), {"q": TableRuntime(off)}, documents)
    return Sample(found["q"], own, kept)


def of_kinds(*kinds: str, tokens: int = 60) -> list[Document]:
    documents = random_documents(40, count=len(kinds), tokens=tokens)
    return [replace(d, kind=kind, characters=tokens) for d, kind in zip(documents, kinds, strict=True)]


def test_quantiles_are_those_of_all_tokens_pooled() -> None:
    found = sample(0.5, of_kinds(*"aaaabb"))
    got = summary(found.tally, found.own, found.documents)
    pooled = np.concatenate(found.tally.kld)
    for name, share in QUANTILES.items():
        interval = getattr(got, name)
        assert interval.value == pytest.approx(np.quantile(pooled, share))
        assert interval.low <= interval.value <= interval.high
    assert got.max_kld == pooled.max()


def test_each_kind_has_the_figures_of_its_documents_alone() -> None:
    documents = of_kinds("literary", "code", "literary", "code", "literary")
    found = sample(0.5, documents)
    got = summary(found.tally, found.own, found.documents)
    assert list(got.by_kind) == ["literary", "code"]
    code = sample(0.5, [d for d in documents if d.kind == "code"])
    alone = summary(code.tally, code.own, [replace(d, kind="") for d in code.documents])
    assert alone.by_kind == {}
    for name in ("mean_kld", "same_top_percent", "perplexity_ratio", "mean_delta_p_percent", "bits_per_character"):
        assert getattr(got.by_kind["code"], name) == getattr(alone, name)
    assert (got.by_kind["code"].documents, got.by_kind["literary"].documents, got.documents) == (2, 3, 5)


def test_documents_that_count_for_their_kind_alone_do_not_change_the_whole() -> None:
    few = of_kinds("literary", "literary", "literary")
    more = [*few, *(replace(d, only_kind=True, ids=[0, *d.ids[:0:-1]]) for d in of_kinds("english", "english"))]
    (a, b) = (sample(0.5, documents) for documents in (few, more))
    alone, beside = (summary(s.tally, s.own, s.documents) for s in (a, b))
    assert beside.by_kind["english"].documents == 2
    assert beside.model_copy(update={"by_kind": {}}) == alone.model_copy(update={"by_kind": {}})


def test_a_loss_in_one_kind_is_seen_that_the_whole_hides() -> None:
    """After the tokens of one kind the artifact is wrong, after all others exact."""
    table = np.random.default_rng(1).standard_normal((40, 40)) * 2
    broken = table.copy()
    broken[:10] = broken[:10, ::-1]
    rng = np.random.default_rng(2)

    def documents(kind: str, first: int, past: int, count: int) -> list[Document]:
        return [Document(rng.integers(first, past, 80).tolist(), 240, 80, kind) for _ in range(count)]

    texts = [*documents("english", 10, 40, 30), *documents("statute", 0, 10, 3)]
    found = compare(TableRuntime(table), {"q": TableRuntime(broken)}, texts)["q"]
    assert found.by_kind["english"].mean_kld.high < 1e-6
    assert found.by_kind["statute"].mean_kld.low > 5 * found.mean_kld.value


@pytest.mark.parametrize("measure", [*RATIOS, *QUANTILES])
def test_the_change_of_any_measure_is_the_difference_of_its_values(measure: str) -> None:
    documents = of_kinds(*"aaaaaaaa")
    before, after = sample(0.2, documents), sample(0.6, documents, seed=4)
    values = [getattr(summary(s.tally, s.own, s.documents), measure).value for s in (before, after)]
    found = change(measure, before, after)
    assert found.value == pytest.approx(values[1] - values[0], rel=1e-6, abs=1e-12)
    assert found.low <= found.value <= found.high
    none = change(measure, before, before)
    assert (none.value, none.low, none.high) == (0.0, 0.0, 0.0)


def test_the_change_of_the_mean_divergence_is_the_one_that_the_solver_is_judged_by() -> None:
    documents = of_kinds(*"aaaaaaaa")
    before, after = sample(0.2, documents), sample(0.6, documents, seed=4)
    assert change("mean_kld", before, after) == kld_change(before.tally, after.tally)


def test_pairs_show_a_difference_that_two_intervals_hide() -> None:
    """Documents differ far more than the artifacts do: the intervals overlap, the change is clear."""
    rng = np.random.default_rng(7)
    table = rng.standard_normal((40, 40)) * np.linspace(0.1, 5, 40)[:, None]
    noise = rng.standard_normal((40, 40)) * np.linspace(0.05, 2, 40)[:, None]
    documents = [Document([0, *[int(i)] * 40], 120) for i in rng.integers(0, 40, 12)]
    own, found, kept = tallies(
        TableRuntime(table), {n: TableRuntime(table + noise * s) for n, s in (("a", 1.0), ("b", 1.1))}, documents
    )
    a, b = (Sample(found[n], own, kept) for n in "ab")
    one, other = (summary(s.tally, s.own, s.documents).mean_kld for s in (a, b))
    assert one.high > other.low
    assert change("mean_kld", a, b).low > 0


def test_other_documents_or_another_reference_make_no_pairs() -> None:
    a = sample(0.2, of_kinds(*"aaaa"))
    with pytest.raises(UsageError, match="not measured on the same documents"):
        change("mean_kld", a, sample(0.2, of_kinds(*"aaa")))
    swapped = replace(a, own=fidelity.Tally(nats=[n + 1 for n in a.own.nats]))
    with pytest.raises(UsageError, match="against the same reference"):
        change("p99_kld", a, swapped)


class Watched(FakeRuntime):
    """Remembers how many rows it gave at once."""

    def step(self, feeds: list[Feed]) -> list[Logits]:  # type: ignore[override]
        found = super().step(feeds)
        self.most = max(getattr(self, "most", 0), len(found[0]))
        return found


def test_no_more_rows_are_held_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a window and large a vocabulary; the figures stay the same."""
    documents = random_documents(512, count=2, tokens=100)
    whole = compare(FakeRuntime(), {"q": FakeRuntime()}, documents, window_tokens=64)["q"]
    monkeypatch.setattr(fidelity, "ROWS_BYTES", 10 * 512 * 4)
    reference, artifact = Watched(), Watched()
    assert compare(reference, {"q": artifact}, documents, window_tokens=64)["q"] == whole
    assert (reference.most, artifact.most) == (10, 10)


def test_a_perfect_twin_has_nothing_to_report() -> None:
    found = compare(everywhere(0.5, 0.5), {"q": everywhere(0.5, 0.5)}, [Document([0, 1, 0], 4, 4)] * 3)["q"]
    assert found.max_kld == 0.0
    assert found.mean_delta_p_percent is not None
    assert math.isclose(found.mean_delta_p_percent.value, 0.0)
