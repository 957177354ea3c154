"""What sensitivity is measured on: calibration text from all over it, within the memory and disk there is."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from edgellm.engines import open_runtime
from edgellm.engines.gguf.tensor_groups import layout_of
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import NoSpace
from edgellm.language.tokenizer import Tokenizer, load_tokenizer
from edgellm.measures.sensitivity import Reference
from edgellm.stages.calibration_text import Source, chunks_of
from edgellm.stages.sensitivity import WINDOW_TOKENS, Effort, measured, sensitivity_windows
from tiny_checkpoints import TINY_JA
from tiny_gguf import dense_gguf


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(TINY_JA)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One document, since there is no form feed in it."""
    path = tmp_path_factory.mktemp("text") / "mine.txt"
    path.write_text("".join(f"これは{i}番目の文です。\n" for i in range(3000)), encoding="utf-8")
    return path


def test_one_long_document_gives_windows_from_all_over_it(mine: Path, tokenizer: Tokenizer) -> None:
    windows = sensitivity_windows(str(mine), tokenizer, 2048)
    whole = chunks_of(Source(str(mine)).documents(), tokenizer, WINDOW_TOKENS)
    places = [whole.index(window) for window in windows]
    assert [len(window) for window in windows] == [WINDOW_TOKENS] * 8
    assert places == [len(whole) * i // 8 for i in range(8)]


def test_a_short_text_is_taken_whole(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "short.txt").write_text("".join(f"これは{i}番目の文です。\n" for i in range(100)), encoding="utf-8")
    short = Source(str(tmp_path / "short.txt"))
    whole = chunks_of(short.documents(), tokenizer, WINDOW_TOKENS)
    assert 1 < len(whole) < 8
    assert sensitivity_windows(short.name, tokenizer, 2048) == whole


def test_the_sources_of_a_mix_have_their_weights(mine: Path, tokenizer: Tokenizer) -> None:
    windows = sensitivity_windows([f"{mine}=3", "shipped", "self"], tokenizer, 2048)
    own = chunks_of(Source(str(mine)).documents(), tokenizer, WINDOW_TOKENS)
    assert [window in own for window in windows] == [True] * 6 + [False] * 2


@pytest.mark.parametrize("calibration", ["none", "self"])
def test_without_a_text_of_ones_own_it_is_the_one_that_ships(calibration: str, tokenizer: Tokenizer) -> None:
    assert sensitivity_windows(calibration, tokenizer, 512) == sensitivity_windows("shipped", tokenizer, 512)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dense_gguf(tmp_path_factory.mktemp("dense") / "dense.gguf")


def test_a_group_that_no_anchor_fits_is_measured_all_the_same(dense: Path, tmp_path: Path) -> None:
    effort = Effort(layers=1, anchors=("Q5_0",))  # for other widths than 256
    found = measured(dense, {}, layout_of(dense, None, {}), [list(range(32))], tmp_path, effort, None)
    for group in found.groups:
        klds = {cost.type: cost.kld for cost in group.types}
        assert [cost.type for cost in group.types if cost.measured] == ["Q2_K"]
        assert klds["Q2_K"] > klds["Q4_K"] > klds["Q8_0"] > 0


def test_a_reference_for_which_there_is_no_room_is_told_before_the_work(dense: Path, tmp_path: Path) -> None:
    with (
        closing(open_runtime("gguf", dense, RuntimeOptions(context_tokens=256))) as runtime,
        pytest.raises(NoSpace, match="what the unchanged model predicts needs"),
    ):
        Reference.of(runtime, [range(10**12)], tmp_path)
    assert list(tmp_path.iterdir()) == []
