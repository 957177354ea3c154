"""Our importance matrices and quantized files against llama.cpp's own llama-imatrix and llama-quantize.

The tools may be of a newer llama.cpp than the library that we quantize with.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import pytest

from edgellm.engines.gguf import loading
from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.imatrix import CHUNK_TOKENS, collect
from edgellm.engines.gguf.imatrix_file import Imatrix, read_imatrix, write_imatrix
from edgellm.engines.gguf.quantize import quantize
from edgellm.engines.protocol import RuntimeOptions
from tiny_checkpoints import TINY_JA
from tiny_gguf import VOCAB, experts_gguf

pytestmark = pytest.mark.oracle

TEXT = (
    "きょうは朝から雨が降っていたので、図書館で古い地図を調べることにした。\n"
    "The archive opens at nine; 閲覧室は二階にあります。\n"
    "申請書は三部作成し、窓口へ提出してください。手数料は一件につき四百円です。\n"
)
CHUNKS = 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny-ja") / "tiny-ja.gguf"
    convert(TINY_JA, path, "F16")
    return path


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "calibration.txt"
    path.write_text("".join(f"{i}番。{TEXT}" for i in range(20)), encoding="utf-8")
    return path


def tool(folder: Path, name: str, *arguments: object) -> None:
    """Run one of llama.cpp's tools; its libraries lie beside it."""
    done = subprocess.run(
        [folder / name, *map(str, arguments)], capture_output=True, text=True, errors="replace", timeout=240,
        env=os.environ | {"LD_LIBRARY_PATH": f"{folder}:{os.environ.get('LD_LIBRARY_PATH', '')}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def engine_chunks(model: Path, text: str) -> list[list[int]]:
    """The ids that llama-imatrix makes of a text: BOS, then the engine's own, each chunk's first made BOS."""
    loaded = loading.load_model(loading.checked_header(model), RuntimeOptions())
    vocab = llama_cpp.llama_model_get_vocab(loaded)
    raw = text.encode()
    ids = (llama_cpp.llama_token * (len(raw) + 8))()
    count = llama_cpp.llama_tokenize(vocab, raw, len(raw), ids, len(ids), True, False)
    assert count >= 2 * CHUNK_TOKENS
    bos = llama_cpp.llama_vocab_bos(vocab)
    llama_cpp.llama_model_free(loaded)
    whole = [list(ids[i : i + CHUNK_TOKENS]) for i in range(0, count - CHUNK_TOKENS + 1, CHUNK_TOKENS)]
    return [[bos, *chunk[1:]] for chunk in whole][:CHUNKS]


@pytest.fixture(scope="module")
def theirs(oracle_tools: Path, model: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("theirs") / "imatrix.gguf"
    tool(
        oracle_tools, "llama-imatrix", "-m", model, "-f", text, "-o", path, "-c", CHUNK_TOKENS,
        "-b", CHUNK_TOKENS, "--chunks", CHUNKS, "-t", 2, "--no-ppl",
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def ours(model: Path, text: Path) -> Imatrix:
    return collect(model, engine_chunks(model, text.read_text(encoding="utf-8")))


def tensors(path: Path) -> dict[str, tuple[str, bytes]]:
    return {t.name: (t.tensor_type.name, t.data.tobytes()) for t in gguf.GGUFReader(path).tensors}


def test_our_matrix_is_llama_imatrix_s_on_the_same_ids(theirs: Path, ours: Imatrix) -> None:
    reference = read_imatrix(theirs)
    assert ours.entries.keys() == reference.entries.keys()
    assert (ours.chunk_count, ours.chunk_tokens) == (reference.chunk_count, reference.chunk_tokens)
    for name, want in reference.entries.items():
        np.testing.assert_array_equal(ours.entries[name].counts, want.counts)
        np.testing.assert_allclose(ours.entries[name].in_sum2, want.in_sum2, rtol=1e-3, err_msg=name)


@pytest.mark.parametrize("name", ["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K", "Q4_0", "IQ3_S"])
def test_our_file_has_the_tensor_bytes_of_llama_quantize_s_with_the_same_matrix(
    oracle_tools: Path, model: Path, ours: Imatrix, tmp_path: Path, name: str
) -> None:
    write_imatrix(tmp_path / "imatrix.gguf", ours, datasets=["calibration.txt"])
    tool(
        oracle_tools, "llama-quantize", "--imatrix", tmp_path / "imatrix.gguf",
        model, tmp_path / "theirs.gguf", name, 2,
    )  # fmt: skip
    quantize(model, tmp_path / "ours.gguf", name, read_imatrix(tmp_path / "imatrix.gguf"))
    reference, mine = tensors(tmp_path / "theirs.gguf"), tensors(tmp_path / "ours.gguf")
    assert mine.keys() == reference.keys()
    assert [n for n in mine if mine[n] != reference[n]] == []
    keys = ["general.file_type", "quantize.imatrix.dataset", "quantize.imatrix.entries_count"]
    keys.append("quantize.imatrix.chunks_count")
    a, b = (gguf.GGUFReader(tmp_path / f).fields for f in ("theirs.gguf", "ours.gguf"))
    assert a.keys() == b.keys()
    assert [(k, b[k].contents(), b[k].types) for k in keys] == [(k, a[k].contents(), a[k].types) for k in keys]


def test_our_quantizer_takes_llama_imatrix_s_file_and_agrees_with_llama_quantize(
    oracle_tools: Path, model: Path, theirs: Path, tmp_path: Path
) -> None:
    tool(oracle_tools, "llama-quantize", "--imatrix", theirs, model, tmp_path / "theirs.gguf", "IQ2_XXS", 2)
    quantize(model, tmp_path / "ours.gguf", "IQ2_XXS", read_imatrix(theirs))
    assert tensors(tmp_path / "ours.gguf") == tensors(tmp_path / "theirs.gguf")


def test_experts_are_quantized_with_their_own_slices_as_llama_quantize_does(oracle_tools: Path, tmp_path: Path) -> None:
    model = experts_gguf(tmp_path / "experts.gguf", width=256)
    found = collect(model, np.random.default_rng(0).integers(0, VOCAB, (1, 20)).tolist())
    assert any((entry.counts == 0).any() for entry in found.entries.values())
    write_imatrix(tmp_path / "imatrix.gguf", found)
    tool(
        oracle_tools, "llama-quantize", "--imatrix", tmp_path / "imatrix.gguf",
        model, tmp_path / "theirs.gguf", "IQ3_S", 2,
    )  # fmt: skip
    quantize(model, tmp_path / "ours.gguf", "IQ3_S", found)
    assert tensors(tmp_path / "ours.gguf") == tensors(tmp_path / "theirs.gguf")
    quantize(model, tmp_path / "without.gguf", "IQ3_S")
    assert tensors(tmp_path / "without.gguf") != tensors(tmp_path / "theirs.gguf")


def test_llama_imatrix_merges_our_file_as_we_do(oracle_tools: Path, model: Path, ours: Imatrix, tmp_path: Path) -> None:
    files = [tmp_path / "a.gguf", tmp_path / "b.gguf"]
    for file in files:
        write_imatrix(file, ours)
    named = ",".join(map(str, files))
    tool(oracle_tools, "llama-imatrix", "-m", model, "--in-file", named, "-o", tmp_path / "both.gguf")
    both = read_imatrix(tmp_path / "both.gguf")
    for name, entry in ours.entries.items():
        np.testing.assert_allclose(both.entries[name].in_sum2, 2 * entry.in_sum2, rtol=1e-6)
        np.testing.assert_array_equal(both.entries[name].counts, 2 * entry.counts)
