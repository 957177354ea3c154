"""Prompts read with a second set of weights: the same results as without, whatever is done with the sequences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from edgellm.engines.gguf import reader_trial
from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.loading import GgufOptions
from edgellm.engines.gguf.opening import open_runtime
from edgellm.engines.gguf.placement import memory_bytes
from edgellm.engines.gguf.prompt_reader import PromptReader, worth_trying
from edgellm.engines.gguf.quantize import quantize
from edgellm.engines.gguf.runtime import GgufRuntime
from edgellm.engines.protocol import Feed, RuntimeOptions
from edgellm.errors import EngineFailed, UsageError
from tiny_checkpoints import random_llama
from tiny_gpt_oss import random_gpt_oss
from tiny_recurrent import mamba_gguf

CONTEXT, SEQUENCES, VOCAB = 512, 4, 8192


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    convert(random_llama(folder / "checkpoint"), folder / "model.gguf", "F32")
    return folder / "model.gguf"


@pytest.fixture(scope="module")
def plain(llama: Path) -> Iterator[GgufRuntime]:
    runtime = open_runtime(llama, RuntimeOptions(CONTEXT, SEQUENCES, threads=1))
    yield runtime
    runtime.close()


@pytest.fixture
def reading(llama: Path) -> Iterator[GgufRuntime]:
    runtime = open_runtime(llama, RuntimeOptions(CONTEXT, SEQUENCES, threads=1, second_weights=True))
    yield runtime
    runtime.close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens each call of a reader has read."""
    counts: list[int] = []
    original = PromptReader.read

    def counted(self: PromptReader, feed: Feed, ids: object) -> np.ndarray:
        counts.append(len(feed.ids))
        return original(self, feed, ids)

    monkeypatch.setattr(PromptReader, "read", counted)
    return counts


def ids_of(seed: int, count: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, VOCAB, count).tolist()


def close(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and (not one.size or float(np.abs(one - other).max()) < 0.02 * float(other.std()))


def random_deeds(seed: int, count: int) -> Iterator[tuple[str, int, int, list[int]]]:
    """(what, sequence, number, ids): a third of them long feeds."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        what = rng.choice(["long", "long", "long", "short", "single", "single", "copy", "keep", "empty", "save"])
        length = {"long": (64, 200), "short": (2, 60)}.get(what, (1, 2))
        ids = rng.integers(0, VOCAB, rng.integers(*length)).tolist()
        yield str(what), int(rng.integers(SEQUENCES)), int(rng.integers(1000)), ids


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_done_the_results_are_those_of_a_runtime_without(
    plain: GgufRuntime, reading: GgufRuntime, read: list[int], seed: int
) -> None:
    pair = (plain, reading)
    for runtime in pair:
        for sequence in range(SEQUENCES):
            runtime.keep(sequence, 0)
    for what, sequence, number, ids in random_deeds(seed, 60):
        held = plain.held(sequence)
        assert reading.held(sequence) == held
        found: list[np.ndarray] = []
        for runtime in pair:
            if what in ("long", "short", "single"):
                if held + len(ids) > CONTEXT:
                    runtime.keep(sequence, 0)
                wanted = "last" if number % 3 else "none"
                found.append(runtime.step([Feed(sequence, ids, wanted)])[0].copy())
            elif what == "copy":
                runtime.copy(sequence, number % SEQUENCES)
            elif what == "save":
                runtime.restore(number % SEQUENCES, runtime.save(sequence))
            else:
                runtime.keep(sequence, 0 if what == "empty" else number % (held + 1))
        assert not found or close(*found), (what, sequence, number, len(ids))
    for sequence in range(SEQUENCES):
        if plain.held(sequence) == CONTEXT:
            plain.keep(sequence, 100), reading.keep(sequence, 100)
    feeds = [Feed(sequence, [7]) for sequence in range(SEQUENCES)]
    for one, other in zip(plain.step(feeds), reading.step(feeds), strict=True):
        assert close(one, other)
    assert len(read) > 5


def test_long_pieces_of_a_prompt_are_read_there_and_what_is_short_is_not(reading: GgufRuntime, read: list[int]) -> None:
    for count in (100, 30, 10, 1):
        reading.step([Feed(2, ids_of(count, count))])
    assert read == [100, 30]


def test_a_prompt_that_goes_on_after_a_short_beginning_is_read_there_and_after_a_long_one_is_not(
    reading: GgufRuntime, read: list[int]
) -> None:
    reading.step([Feed(0, ids_of(1, 20))])
    reading.step([Feed(0, ids_of(2, 64))])
    reading.step([Feed(1, ids_of(3, 60))])
    reading.copy(1, 2)
    reading.step([Feed(2, ids_of(4, 100))])
    for seed in range(8):
        reading.step([Feed(3, ids_of(seed, 40))])
    reading.step([Feed(3, ids_of(5, 64))])
    assert read == [64, 100]


def test_a_second_prompt_may_begin_while_the_first_is_half_read(plain: GgufRuntime, reading: GgufRuntime) -> None:
    for sequence in range(SEQUENCES):
        plain.keep(sequence, 0)
    for runtime in (plain, reading):
        runtime.step([Feed(0, ids_of(1, 80), "none")])
        runtime.step([Feed(1, ids_of(2, 80), "none")])
        runtime.step([Feed(0, ids_of(3, 80), "none")])
    feeds = [Feed(0, [1]), Feed(1, [2])]
    for one, other in zip(plain.step(feeds), reading.step(feeds), strict=True):
        assert close(one, other)


def test_a_prompt_that_could_not_be_read_is_held_as_before(
    reading: GgufRuntime, plain: GgufRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading.step([Feed(0, ids_of(1, 80), "none")])
    with monkeypatch.context() as patch:
        patch.setattr(llama_cpp, "llama_decode", lambda *_: -3)
        with pytest.raises(EngineFailed, match="could not read a prompt"):
            reading.step([Feed(0, ids_of(2, 80), "none")])
    assert reading.held(0) == 80
    plain.keep(0, 0)
    plain.step([Feed(0, ids_of(1, 80), "none")])
    assert close(reading.step([Feed(0, [5])])[0], plain.step([Feed(0, [5])])[0])


def test_a_prompt_that_llama_cpp_does_not_take_over_leaves_an_empty_sequence(
    reading: GgufRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading.step([Feed(0, ids_of(1, 80), "none")])
    with monkeypatch.context() as patch:
        patch.setattr(llama_cpp, "llama_state_seq_set_data", lambda *_: 0)
        with pytest.raises(EngineFailed, match="could not take over"):
            reading.step([Feed(0, [5])])
    assert reading.held(0) == 0
    reading.step([Feed(0, ids_of(1, 80))])


def test_results_that_differ_refuse_it_where_it_was_asked_for(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_trial, "CLOSE", -1.0)
    with pytest.raises(EngineFailed, match="or the results differ"):
        open_runtime(llama, RuntimeOptions(CONTEXT, SEQUENCES, threads=1, second_weights=True))


def test_a_model_with_two_kinds_of_memory_is_read_as_before(tmp_path: Path) -> None:
    convert(random_gpt_oss(tmp_path / "checkpoint"), tmp_path / "model.gguf", "F32")
    with pytest.raises(EngineFailed, match="or the results differ"):
        open_runtime(tmp_path / "model.gguf", RuntimeOptions(CONTEXT, SEQUENCES, threads=1, second_weights=True))


def test_a_model_that_cannot_be_cut_and_a_short_context_refuse_it(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="second set of weights"):
        open_runtime(llama, RuntimeOptions(128, SEQUENCES, threads=1, second_weights=True))
    with pytest.raises(UsageError, match="second set of weights"):
        open_runtime(mamba_gguf(tmp_path / "mamba.gguf"), RuntimeOptions(CONTEXT, threads=1, second_weights=True))


def test_left_open_it_is_tried_for_types_that_llama_cpp_rearranges(llama: Path, tmp_path: Path) -> None:
    quantize(llama, tmp_path / "q4.gguf", "Q4_K_M")
    assert worth_trying(read_header(tmp_path / "q4.gguf"))
    assert not worth_trying(read_header(llama))
    runtime = open_runtime(llama, RuntimeOptions(CONTEXT, SEQUENCES, threads=1, second_weights=None))
    assert "own weights" not in runtime.info.setup
    runtime.close()


def test_it_says_so_and_its_memory_counts(reading: GgufRuntime, llama: Path) -> None:
    assert reading.info.setup.endswith("prompts read with the file's own weights")
    without = memory_bytes(llama, GgufOptions(CONTEXT, SEQUENCES))
    assert memory_bytes(llama, GgufOptions(CONTEXT, SEQUENCES, second_weights=True)) > without + llama.stat().st_size
