"""Converted Llama variants against transformers in float32: what the settings mean, not how they look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgellm.engines import open_runtime
from edgellm.engines.gguf.convert import convert
from edgellm.engines.protocol import Feed, RuntimeOptions
from tiny_checkpoints import random_llama

pytestmark = pytest.mark.oracle

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 256}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}
SCALINGS: dict[str, dict[str, Any]] = {
    "llama3": LLAMA3, "linear": {"rope_type": "linear", "factor": 2.5}, "yarn": YARN,
}  # fmt: skip
IDS = np.random.default_rng(1).integers(100, 8000, 200).tolist()


def reference_logits(checkpoint: Path) -> NDArray[np.float64]:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.LlamaForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    with torch.no_grad():
        return np.asarray(model(torch.tensor([IDS])).logits[0], np.float64)


def converted_logits(checkpoint: Path) -> NDArray[np.float64]:
    artifact = checkpoint.with_suffix(".gguf")
    convert(checkpoint, artifact, "F32")
    runtime = open_runtime("gguf", artifact, RuntimeOptions(context_tokens=256, threads=1))
    try:
        return np.asarray(runtime.step([Feed(0, IDS, "all")])[0], np.float64)
    finally:
        runtime.close()


def mean_kld(reference: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Mean over positions of KL(reference ‖ other), in nats."""

    def log_softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
        shifted = x - x.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))

    p, q = log_softmax(reference), log_softmax(other)
    return float((np.exp(p) * (p - q)).sum(axis=-1).mean())


def test_biases_and_wide_heads_give_the_references_logits(tmp_path: Path) -> None:
    checkpoint = random_llama(tmp_path / "wide", head_dim=96, biases=True, tied=True)
    assert mean_kld(reference_logits(checkpoint), converted_logits(checkpoint)) < 1e-4


@pytest.mark.parametrize("kind", SCALINGS)
def test_stretched_rope_gives_the_references_logits_and_matters(kind: str, tmp_path: Path) -> None:
    checkpoint = random_llama(tmp_path / kind, tied=True, rope_scaling=SCALINGS[kind], theta=5e5)
    expected = reference_logits(checkpoint)
    assert mean_kld(expected, converted_logits(checkpoint)) < 1e-4
    config = json.loads((checkpoint / "config.json").read_text()) | {"rope_scaling": None}
    (checkpoint / "config.json").write_text(json.dumps(config))
    assert mean_kld(expected, converted_logits(checkpoint)) > 1e-2
