"""What only the GGUF runtime has: options, facts, bad files, and what a failing llama.cpp leaves behind.

Whatever every runtime does is tested in `tests/contract/test_runtime.py`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.loading import GgufOptions
from edgellm.engines.gguf.opening import open_runtime
from edgellm.engines.gguf.runtime import GgufRuntime
from edgellm.engines.protocol import Feed, RuntimeOptions
from edgellm.errors import BadInput, EngineFailed, UsageError
from tiny_checkpoints import random_llama
from tiny_recurrent import mamba_gguf, plamo2_gguf

IDS = np.random.default_rng(0).integers(0, 256, 48).tolist()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    convert(random_llama(folder / "checkpoint"), folder / "model.gguf", "F16")
    return folder / "model.gguf"


@pytest.fixture(scope="module")
def mamba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mamba_gguf(tmp_path_factory.mktemp("mamba") / "model.gguf")


def _all(artifact: Path, **options: object) -> np.ndarray:
    runtime = open_runtime(artifact, GgufOptions(context_tokens=256, threads=1, **options))
    logits = runtime.step([Feed(0, IDS, "all")])[0].copy()
    runtime.close()
    return logits


# Options


def test_context_is_what_the_model_declares_if_nothing_is_asked(llama) -> None:
    runtime = open_runtime(llama, RuntimeOptions())
    assert runtime.info.context_tokens == 1024
    runtime.close()


def test_context_that_nobody_asked_for_stays_below_4096(tmp_path) -> None:
    runtime = open_runtime(mamba_gguf(tmp_path / "long.gguf", context=10_485_760), RuntimeOptions())
    assert runtime.info.context_tokens == 4096
    runtime.close()


def test_more_context_than_the_model_declares_is_refused(llama) -> None:
    with pytest.raises(UsageError, match="1024"):
        open_runtime(llama, RuntimeOptions(context_tokens=1025))


def test_a_context_that_llama_cpp_would_round_up_is_kept_to(llama) -> None:
    runtime = open_runtime(llama, RuntimeOptions(context_tokens=50, sequences=3))
    with pytest.raises(UsageError, match="context of 50"):
        runtime.step([Feed(0, [1] * 51)])
    runtime.step([Feed(0, [1] * 50)])
    runtime.close()


@pytest.mark.parametrize(
    "options",
    [
        {"sequences": 0}, {"sequences": 257}, {"context_tokens": -1}, {"threads": -1}, {"ubatch_tokens": 0},
        {"sequences": 9, "step_tokens": 8}, {"type_k": "q4_k"}, {"type_v": "F16"},
        {"type_v": "q8_0", "flash_attention": False}, {"type_v": "q8_0", "type_k": "f32"},
    ],
    ids=str,
)  # fmt: skip
def test_options_that_llama_cpp_would_not_survive_are_refused(llama, options) -> None:
    with pytest.raises(UsageError):
        open_runtime(llama, GgufOptions(**options))


def test_256_sequences_can_be_held(mamba) -> None:
    runtime = open_runtime(mamba, RuntimeOptions(context_tokens=16, sequences=256))
    last = runtime.step([Feed(sequence, [sequence]) for sequence in range(256)])[255].copy()
    runtime.keep(7, 0)
    assert np.allclose(runtime.step([Feed(7, [255])])[0], last, atol=1e-3)
    runtime.close()


def test_threads_default_to_the_cores_this_process_may_use(llama) -> None:
    from edgellm.engines.cores import usable_cores

    runtime = open_runtime(llama, RuntimeOptions(context_tokens=64))
    assert runtime.info.threads == usable_cores()
    runtime.close()


def test_small_batches_give_the_same_logits(llama) -> None:
    expected = _all(llama)
    assert np.abs(_all(llama, step_tokens=64, ubatch_tokens=8) - expected).max() < 0.02 * expected.std()


def test_an_f32_cache_is_not_rounded_by_flash_attention(llama) -> None:
    """Flash attention, which would round it to f16, stays off unless it is asked for."""
    assert np.array_equal(
        _all(llama, type_k="f32", type_v="f32"),
        _all(llama, type_k="f32", type_v="f32", flash_attention=False),
    )
    assert not np.array_equal(
        _all(llama, type_k="f32", type_v="f32"), _all(llama, type_k="f32", type_v="f32", flash_attention=True)
    )


def test_a_coarser_cache_costs_more_accuracy(llama) -> None:
    exact = _all(llama, type_k="f32", type_v="f32")
    losses = [np.abs(_all(llama, type_k=t, type_v=t) - exact).mean() for t in ("f16", "q8_0", "q4_0")]
    assert losses == sorted(losses)
    assert losses[-1] > 10 * losses[0]


def test_a_cache_type_that_does_not_fit_the_heads_fails_with_a_reason(tmp_path) -> None:
    narrow = tmp_path / "narrow.gguf"
    convert(random_llama(tmp_path / "checkpoint", hidden=64, heads=4, kv_heads=2), narrow, "F16")
    with pytest.raises(EngineFailed, match="q8_0") as failure:
        open_runtime(narrow, GgufOptions(context_tokens=64, type_k="q8_0"))
    assert "\n" not in str(failure.value)


# Facts


def test_info_counts_parameters_and_bytes(llama) -> None:
    runtime = open_runtime(llama, RuntimeOptions(context_tokens=64))
    info = runtime.info
    matrices = 2 * 8192 * 256 + 2 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 512 * 256)
    norms = 5 * 256
    assert info.parameters == matrices + norms
    assert info.size_bytes == 2 * matrices + 4 * norms
    assert (info.engine, info.architecture, info.vocab_tokens) == ("gguf", "llama", 8192)
    assert llama_cpp.__version__ in info.build
    assert "F16" in info.description
    runtime.close()


def test_recurrent_and_hybrid_models_say_that_they_cannot_be_cut(mamba, llama, tmp_path) -> None:
    hybrid = plamo2_gguf(tmp_path / "plamo2.gguf")
    for artifact, can_cut in ((mamba, False), (hybrid, False), (llama, True)):
        runtime = open_runtime(artifact, RuntimeOptions(context_tokens=64))
        assert runtime.info.can_cut is can_cut
        runtime.close()


# Bad files


def _refusal(artifact: Path) -> str:
    with pytest.raises(BadInput) as refusal:
        open_runtime(artifact, RuntimeOptions())
    message = str(refusal.value)
    assert str(artifact) in message
    assert "\n" not in message
    return message


def test_a_missing_file_is_named(tmp_path) -> None:
    assert "there is no file" in _refusal(tmp_path / "missing.gguf")


def test_a_folder_is_not_a_model(tmp_path) -> None:
    _refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\x03\x04" + bytes(100)])
def test_a_file_of_another_kind_is_refused(tmp_path, content) -> None:
    (tmp_path / "model.gguf").write_bytes(content)
    assert "not a GGUF file" in _refusal(tmp_path / "model.gguf")


@pytest.mark.parametrize("size", [4, 20, 1_000, 100_000, 1_000_000, -8])
def test_a_truncated_file_is_refused_with_the_reason_of_llama_cpp(llama, tmp_path, size) -> None:
    (tmp_path / "cut.gguf").write_bytes(llama.read_bytes()[:size])
    assert "gave no reason" not in _refusal(tmp_path / "cut.gguf")


def test_garbage_after_the_magic_is_refused(tmp_path) -> None:
    garbage = np.random.default_rng(0).bytes(5_000)
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + garbage)
    assert "gave no reason" not in _refusal(tmp_path / "model.gguf")


def test_a_plamo2_file_over_which_llama_cpp_hangs_is_refused(tmp_path) -> None:
    assert "hang" in _refusal(plamo2_gguf(tmp_path / "stock.gguf", first_heads=0))


def test_nothing_is_printed(llama, tmp_path) -> None:
    """A good and a bad file in a fresh process: llama.cpp's log goes nowhere."""
    (tmp_path / "cut.gguf").write_bytes(llama.read_bytes()[:1000])
    script = f"""
from pathlib import Path
from edgellm.engines.gguf.opening import open_runtime
from edgellm.engines.protocol import Feed, RuntimeOptions
from edgellm.errors import BadInput
runtime = open_runtime(Path({str(llama)!r}), RuntimeOptions(context_tokens=64, sequences=2))
runtime.step([Feed(0, [1, 2, 3])])
runtime.copy(0, 1)
runtime.step([Feed(1, [1, 2, 3])])
runtime.close()
try:
    open_runtime(Path({str(tmp_path / "cut.gguf")!r}), RuntimeOptions())
except BadInput:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("refused\n", "")


# Failures in the middle of a step


@contextmanager
def _aborting_after(runtime: GgufRuntime, checks: int) -> Iterator[None]:
    """Let llama.cpp abort its computation at the given check (it asks before every few operations)."""
    asked = 0

    @llama_cpp.ggml_abort_callback
    def abort(_data: object) -> bool:
        nonlocal asked
        asked += 1
        return asked > checks

    llama_cpp.llama_set_abort_callback(runtime._context, abort, None)
    yield
    llama_cpp.llama_set_abort_callback(runtime._context, llama_cpp.ggml_abort_callback(), None)


@pytest.mark.parametrize("checks", [0, 60, 200])
def test_a_failed_step_leaves_a_model_that_can_be_cut_as_it_was(llama, checks) -> None:
    runtime = open_runtime(llama, GgufOptions(256, sequences=2, threads=1, ubatch_tokens=8))
    expected = runtime.step([Feed(0, IDS, "all")])[0].copy()
    runtime.keep(0, 0)
    runtime.step([Feed(0, IDS[:9], "none"), Feed(1, IDS[:5], "none")])
    with _aborting_after(runtime, checks), pytest.raises(EngineFailed, match="nothing has changed"):
        runtime.step([Feed(0, IDS[::-1], "all"), Feed(1, IDS, "all")])
    assert (runtime.held(0), runtime.held(1)) == (9, 5)
    rows = runtime.step([Feed(1, IDS[5:], "all"), Feed(0, IDS[9:], "all")])
    assert np.abs(rows[0] - expected[5:]).max() < 0.02 * expected.std()
    assert np.abs(rows[1] - expected[9:]).max() < 0.02 * expected.std()
    runtime.close()


def test_a_failed_step_empties_the_fed_sequences_of_a_recurrent_model(mamba) -> None:
    runtime = open_runtime(mamba, GgufOptions(256, sequences=3, threads=1, ubatch_tokens=8))
    expected = runtime.step([Feed(0, IDS, "all")])[0].copy()
    runtime.keep(0, 0)
    runtime.step([Feed(sequence, IDS[:9], "none") for sequence in range(3)])
    with _aborting_after(runtime, 40), pytest.raises(EngineFailed, match="feed its sequences again"):
        runtime.step([Feed(0, IDS[9:], "all"), Feed(1, IDS[9:], "all")])
    assert [runtime.held(sequence) for sequence in range(3)] == [0, 0, 9]
    rows = runtime.step([Feed(0, IDS, "all"), Feed(2, IDS[9:], "all")])
    assert np.abs(rows[0] - expected).max() < 0.02 * expected.std()
    assert np.abs(rows[1] - expected[9:]).max() < 0.02 * expected.std()
    runtime.close()
