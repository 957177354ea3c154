"""Converted Llama variants against transformers in float32: what the settings mean, not how they look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reference_logits import gguf_logits, mean_kld, transformers_logits
from tiny_checkpoints import random_llama

pytestmark = pytest.mark.oracle

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 256}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}
SCALINGS: dict[str, dict[str, Any]] = {
    "llama3": LLAMA3, "linear": {"rope_type": "linear", "factor": 2.5}, "yarn": YARN,
}  # fmt: skip
IDS = np.random.default_rng(1).integers(100, 8000, 200).tolist()


def test_biases_and_wide_heads_give_the_references_logits(tmp_path: Path) -> None:
    checkpoint = random_llama(tmp_path / "wide", head_dim=96, biases=True, tied=True)
    assert mean_kld(transformers_logits(checkpoint, IDS), gguf_logits(checkpoint, IDS, "F32")) < 1e-4


@pytest.mark.parametrize("kind", SCALINGS)
def test_stretched_rope_gives_the_references_logits_and_matters(kind: str, tmp_path: Path) -> None:
    checkpoint = random_llama(tmp_path / kind, tied=True, rope_scaling=SCALINGS[kind], theta=5e5)
    expected = transformers_logits(checkpoint, IDS)
    assert mean_kld(expected, gguf_logits(checkpoint, IDS, "F32")) < 1e-4
    config = json.loads((checkpoint / "config.json").read_text()) | {"rope_scaling": None}
    (checkpoint / "config.json").write_text(json.dumps(config))
    assert mean_kld(expected, gguf_logits(checkpoint, IDS, "F32")) > 1e-2
