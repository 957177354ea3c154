"""Our runtimes against Hugging Face transformers in float32: same checkpoint, same ids, same logits.

The checkpoint is random with doubled weights (twice the spread of 1/sqrt(width) that keeps activations
level), so attention is far from uniform and a fault anywhere moves the logits. Two layers, since doubled
layers also amplify the rounding of half precision: the f16 file measures a mean KLD of 2.3e-5 over two layers
and 8e-5 over four, which would leave no room below the limit of 1e-4 for another CPU's kernels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgellm.engines.protocol import Logits
from reference_logits import (
    FAULT_KLD_LIMIT,
    MEAN_KLD_LIMIT,
    SAME_TOP_LIMIT,
    Weights,
    artifact_logits,
    gguf_logits,
    mean_kld,
    same_top,
    transformers_logits,
    with_fault,
)
from tiny_checkpoints import random_llama

pytestmark = pytest.mark.onnx  # torch and transformers come with that extra

POSITIONS = 500

IDS = np.random.default_rng(3).integers(0, 8192, POSITIONS).tolist()


def _gguf_logits(checkpoint: Path, _folder: Path) -> Logits:
    return gguf_logits(checkpoint, IDS)


def _onnx_logits(checkpoint: Path, folder: Path) -> Logits:
    from edgellm.engines.onnx.export import export

    export(checkpoint, folder / "onnx")
    return artifact_logits("onnx", folder / "onnx", IDS)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_llama(tmp_path_factory.mktemp("checkpoint"), layers=2, scale=2.0)


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Logits:
    return transformers_logits(checkpoint, IDS)


@pytest.mark.parametrize("engine_logits", [_gguf_logits, _onnx_logits])
def test_an_engine_gives_the_logits_of_transformers(checkpoint, reference, tmp_path, engine_logits) -> None:
    found = engine_logits(checkpoint, tmp_path)
    assert mean_kld(reference, found) <= MEAN_KLD_LIMIT
    assert same_top(reference, found) >= SAME_TOP_LIMIT


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


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_shows_in_the_logits(checkpoint, reference, tmp_path, fault) -> None:
    faulty = with_fault(checkpoint, tmp_path / "faulty", fault)
    assert mean_kld(reference, _gguf_logits(faulty, tmp_path)) >= FAULT_KLD_LIMIT


def test_planting_nothing_shows_nothing(checkpoint, reference, tmp_path) -> None:
    """The faults are seen for what they are, not for the copying around them."""
    sound = with_fault(checkpoint, tmp_path / "sound", None)
    assert mean_kld(reference, _gguf_logits(sound, tmp_path)) <= MEAN_KLD_LIMIT
