"""Which text calibration sees: sources, their weights, and never what fidelity is measured on."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from edgellm.build.order import Order, settle
from edgellm.errors import UsageError
from edgellm.language.tokenizer import Tokenizer, load_tokenizer
from edgellm.stages.calibration_text import (
    BUDGET_TOKENS,
    CHUNK_TOKENS,
    OVERLAP,
    Source,
    check_sources,
    chunks_of,
    mixed,
    parse_sources,
    shares,
)
from edgellm.store import catalogue
from tiny_checkpoints import TINY_JA

BUDGET_CHUNKS = BUDGET_TOKENS // CHUNK_TOKENS


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(TINY_JA)


def nothing_written(tokens: int) -> list[list[int]]:
    pytest.fail(f"the model was asked for {tokens} tokens")


def test_a_source_stands_alone_or_with_a_weight(tmp_path: Path) -> None:
    assert parse_sources("shipped") == (Source("shipped"),)
    assert parse_sources(["self", "shipped=2", "a=b.txt=.5"]) == (
        Source("self"), Source("shipped", 2.0), Source("a=b.txt", 0.5)
    )  # fmt: skip
    (tmp_path / "x=2").write_text("はい")
    assert parse_sources(str(tmp_path / "x=2")) == (Source(str(tmp_path / "x=2")),)


@pytest.mark.parametrize("text", ["a.txt=", "a.txt=x", "a.txt=0", "a.txt=-1", "=2"])
def test_a_weight_that_is_no_positive_number_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not FILE=WEIGHT"):
        parse_sources(text)


def test_a_source_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="'shipped' is named twice"):
        parse_sources(["shipped", "shipped=3"])


def test_weights_share_out_the_budget_and_a_short_text_leaves_its_rest_to_the_others() -> None:
    sources = parse_sources(["self", "shipped=2", "mine.txt"])
    assert shares(sources, {"shipped": 100, "mine.txt": 100}, 48) == {"self": 12, "shipped": 24, "mine.txt": 12}
    assert shares(sources, {"shipped": 100, "mine.txt": 3}, 48) == {"self": 15, "shipped": 30, "mine.txt": 3}
    assert shares(sources, {"shipped": 6, "mine.txt": 3}, 48) == {"self": 39, "shipped": 6, "mine.txt": 3}
    assert shares(parse_sources(["shipped", "mine.txt=1000"]), {"shipped": 99, "mine.txt": 99}, 48)["shipped"] == 1


def test_any_weights_share_out_the_budget_whatever_they_round_to() -> None:
    # The first are a pair whose shares add up to a little more than the budget in floats.
    draws = [
        ((1.8, 5.9), 18),
        *(((rng.random() * 10, rng.random() * 10), rng.randint(1, 60)) for rng in [Random(1)] * 3000),
    ]
    for weights, held in draws:
        sources = tuple(Source(name, weight) for name, weight in zip(("self", "mine.txt"), weights, strict=True))
        found = shares(sources, {"mine.txt": held}, BUDGET_CHUNKS)
        assert found["mine.txt"] <= held
        assert min(found.values()) >= 1
        assert BUDGET_CHUNKS - 1 <= sum(found.values()) <= BUDGET_CHUNKS + 1


def test_a_mix_has_chunks_of_each_source_spread_over_its_text(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "mine.txt").write_text("".join(f"これは{i}番目の文です。\n" for i in range(9000)), encoding="utf-8")
    asked: list[int] = []

    def written(tokens: int) -> list[list[int]]:
        asked.append(tokens)
        return [[7] * CHUNK_TOKENS] * (tokens // CHUNK_TOKENS)

    mine = Source(str(tmp_path / "mine.txt"))
    chunks = mixed([Source("self"), mine], tokenizer, written)
    assert asked == [BUDGET_TOKENS // 2]
    assert len(chunks) == BUDGET_CHUNKS
    whole = chunks_of(mine.documents(), tokenizer)
    places = [whole.index(chunk) for chunk in chunks[BUDGET_CHUNKS // 2 :]]
    assert places == sorted(set(places))
    assert places[0] == 0
    assert places[-1] >= len(whole) * 0.9


def test_a_file_alone_is_used_whole(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "mine.txt").write_text("これは文です。\n" * 20_000, encoding="utf-8")
    mine = Source(str(tmp_path / "mine.txt"))
    assert mixed([mine], tokenizer, nothing_written) == chunks_of(mine.documents(), tokenizer)
    assert len(mixed([mine], tokenizer, nothing_written)) > BUDGET_CHUNKS


def test_the_text_that_ships_for_calibration_holds_none_of_the_verification_text() -> None:
    check_sources([Source("shipped"), Source("self")])


def test_verification_text_in_other_spacing_and_width_is_found_with_its_document(tmp_path: Path) -> None:
    held_out = "".join(catalogue.read_documents(catalogue.TEXTS / "verification")[3].split())
    copied = "\n".join(held_out[100 : 100 + 2 * OVERLAP]).replace("、", "、　")
    (tmp_path / "mine.txt").write_text(f"一つ目の文書。\n\f\n二つ目。{copied}終わり。", encoding="utf-8")
    with pytest.raises(UsageError, match=r"document 2 of .*mine\.txt holds text that fidelity is measured on"):
        settle(Order("tiny-ja", tmp_path / "out", calibration=["shipped", str(tmp_path / "mine.txt")]), recipe())
    (tmp_path / "mine.txt").write_text(held_out[100 : 100 + OVERLAP - 1], encoding="utf-8")
    check_sources([Source(str(tmp_path / "mine.txt"))])


@pytest.mark.parametrize("kind", ["code", "english", "everyday", "statute"])
def test_text_of_the_further_kinds_is_found_too(kind: str, tmp_path: Path) -> None:
    held_out = catalogue.read_documents(catalogue.TEXTS / "verification" / "kinds" / f"{kind}.txt")[-1]
    (tmp_path / "mine.txt").write_text(f"はじめに。{held_out[-200:]}", encoding="utf-8")
    with pytest.raises(UsageError, match="holds text that fidelity is measured on"):
        check_sources([Source(str(tmp_path / "mine.txt"))])


def recipe() -> catalogue.Recipe:
    return catalogue.load_recipe("tiny-ja")


@pytest.mark.parametrize(
    ("calibration", "sentence"), [(["none", "shipped"], "none stands alone"), (["none=2"], "none stands alone")]
)
def test_none_has_no_company(calibration: list[str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=sentence):
        settle(Order("tiny-ja", tmp_path / "out", calibration=calibration), recipe())
