"""Our runtimes against Hugging Face transformers in float32: same checkpoint, same ids, same logits.

The checkpoint is random with doubled weights (twice the spread of 1/sqrt(width) that keeps activations
level), so attention is far from uniform and a fault anywhere moves the logits. Two layers, since doubled
layers also amplify the rounding of half precision: the f16 file measures a mean KLD of 2.3e-5 over two layers
and 8e-5 over four, which would leave no room below the limit of 1e-4 for another CPU's kernels.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgellm.engines import open_runtime
from edgellm.engines.protocol import Feed, Logits, RuntimeOptions
from tiny_checkpoints import random_llama

pytestmark = pytest.mark.onnx  # torch and transformers come with that extra

POSITIONS = 500
MEAN_KLD_LIMIT = 1e-4
SAME_TOP_LIMIT = 0.99
FAULT_KLD_LIMIT = 1e-2

IDS = np.random.default_rng(3).integers(0, 8192, POSITIONS).tolist()


def _transformers_logits(checkpoint: Path) -> Logits:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    ).eval()
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0].numpy()


def _gguf_logits(checkpoint: Path, folder: Path) -> Logits:
    from edgellm.engines.gguf.convert import convert

    convert(checkpoint, folder / "model.gguf", "F16")
    return _logits("gguf", folder / "model.gguf")


def _onnx_logits(checkpoint: Path, folder: Path) -> Logits:
    from edgellm.engines.onnx.export import export

    export(checkpoint, folder / "onnx")
    return _logits("onnx", folder / "onnx")


def _logits(engine: str, artifact: Path) -> Logits:
    runtime = open_runtime(engine, artifact, RuntimeOptions(context_tokens=512, threads=1))
    (logits,) = runtime.step([Feed(0, IDS, "all")])
    runtime.close()
    return logits


def _log_softmax(logits: Logits) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _mean_kld(reference: Logits, found: Logits) -> float:
    """Mean over positions of KL(reference || found), in nats."""
    assert reference.shape == found.shape == (POSITIONS, 8192)
    p, q = _log_softmax(reference), _log_softmax(found)
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_llama(tmp_path_factory.mktemp("checkpoint"), layers=2, scale=2.0)


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Logits:
    return _transformers_logits(checkpoint)


@pytest.mark.parametrize("engine_logits", [_gguf_logits, _onnx_logits])
def test_an_engine_gives_the_logits_of_transformers(checkpoint, reference, tmp_path, engine_logits) -> None:
    found = engine_logits(checkpoint, tmp_path)
    assert _mean_kld(reference, found) <= MEAN_KLD_LIMIT
    assert (reference.argmax(axis=1) == found.argmax(axis=1)).mean() >= SAME_TOP_LIMIT


# The power of that test: a fault in the checkpoint that is converted stands for the same fault in a converter
# or an engine, while transformers keeps reading the sound one.

Weights = dict[str, np.ndarray]


def _no_rope(_weights: Weights, config: dict[str, object]) -> None:
    config["rope_scaling"] = {"rope_type": "linear", "factor": 1e9}  # every position becomes position 0


def _another_theta(_weights: Weights, config: dict[str, object]) -> None:
    config["rope_theta"] = 500_000.0


def _query_and_key_not_permuted(weights: Weights, _config: dict[str, object]) -> None:
    """Undo in advance what the converter does to the rows: the GGUF keeps the order of Hugging Face."""
    for name in weights:
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            rows, columns = weights[name].shape
            pairs = weights[name].reshape(rows // 64, 32, 2, columns)
            weights[name] = np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows, columns))


def _norms_swapped(weights: Weights, _config: dict[str, object]) -> None:
    for layer in range(2):
        first = f"model.layers.{layer}.input_layernorm.weight"
        second = f"model.layers.{layer}.post_attention_layernorm.weight"
        weights[first], weights[second] = weights[second], weights[first]


FAULTS = [_no_rope, _another_theta, _query_and_key_not_permuted, _norms_swapped]


def _with_fault(checkpoint: Path, folder: Path, fault: Callable[[Weights, dict[str, object]], None] | None) -> Path:
    """A copy of the checkpoint, with the fault planted if there is one."""
    weights = load_file(checkpoint / "model.safetensors")
    config = json.loads((checkpoint / "config.json").read_text())
    if fault:
        fault(weights, config)
    folder.mkdir()
    for file in checkpoint.iterdir():
        if file.name not in ("model.safetensors", "config.json"):
            (folder / file.name).write_bytes(file.read_bytes())
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_shows_in_the_logits(checkpoint, reference, tmp_path, fault) -> None:
    faulty = _with_fault(checkpoint, tmp_path / "faulty", fault)
    assert _mean_kld(reference, _gguf_logits(faulty, tmp_path)) >= FAULT_KLD_LIMIT


def test_planting_nothing_shows_nothing(checkpoint, reference, tmp_path) -> None:
    """The faults are seen for what they are, not for the copying around them."""
    sound = _with_fault(checkpoint, tmp_path / "sound", None)
    assert _mean_kld(reference, _gguf_logits(sound, tmp_path)) <= MEAN_KLD_LIMIT
