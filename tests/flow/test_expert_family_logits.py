"""gpt-oss and DeepSeek-V3 against Hugging Face transformers in float32: same checkpoint, same ids, same logits.

The reference for MXFP4 is the same weights unpacked by the format's definition: on a CPU transformers cannot read
packed ones. llama.cpp rounds the inputs of MXFP4 weights to eight bits on a CPU, so logits of the packed file may
differ more; that its blocks are exact is held to bits, that its experts are the right ones to the limit of a fault.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgellm.engines.protocol import Logits
from reference_logits import (
    FAULT_KLD_LIMIT,
    MEAN_KLD_LIMIT,
    SAME_TOP_LIMIT,
    Fault,
    Weights,
    gguf_logits,
    mean_kld,
    same_top,
    transformers_logits,
    with_fault,
)
from tiny_deepseek import DENSE, HEADS, KV_RANK, LAYERS, PLAIN, YARN, random_deepseek
from tiny_deepseek import EXPERTS as DEEPSEEK_EXPERTS
from tiny_gpt_oss import random_gpt_oss, unpack

pytestmark = pytest.mark.onnx  # torch and transformers come with that extra

IDS = np.random.default_rng(1).integers(10, 8000, 256).tolist()
SEED = 3  # of a DeepSeek in which no token is torn between two experts, so that rounding moves none


@pytest.fixture(scope="module")
def gpt_oss(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_gpt_oss(tmp_path_factory.mktemp("gpt-oss") / "packed")


@pytest.fixture(scope="module")
def unpacked(gpt_oss: Path) -> Path:
    return with_fault(gpt_oss, gpt_oss.parent / "plain", unpack)


@pytest.fixture(scope="module")
def gpt_oss_reference(unpacked: Path) -> Logits:
    return transformers_logits(unpacked, IDS)


@pytest.fixture(scope="module")
def deepseek(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_deepseek(tmp_path_factory.mktemp("deepseek") / "sound", seed=SEED, further_layers=1)


@pytest.fixture(scope="module")
def deepseek_reference(deepseek: Path) -> Logits:
    return transformers_logits(deepseek, IDS)


def test_gpt_oss_gives_the_logits_of_transformers(unpacked: Path, gpt_oss_reference: Logits) -> None:
    found = gguf_logits(unpacked, IDS)
    assert mean_kld(gpt_oss_reference, found) <= MEAN_KLD_LIMIT
    assert same_top(gpt_oss_reference, found) >= SAME_TOP_LIMIT


def test_packed_experts_of_gpt_oss_stand_where_the_unpacked_ones_do(gpt_oss: Path, gpt_oss_reference: Logits) -> None:
    assert mean_kld(gpt_oss_reference, gguf_logits(gpt_oss, IDS)) <= FAULT_KLD_LIMIT


def test_deepseek_gives_the_logits_of_transformers(deepseek: Path, deepseek_reference: Logits) -> None:
    found = gguf_logits(deepseek, IDS)
    assert mean_kld(deepseek_reference, found) <= MEAN_KLD_LIMIT
    assert same_top(deepseek_reference, found) >= SAME_TOP_LIMIT


def of_tensors(part: str, change: Any) -> Fault:
    """A fault that changes every tensor whose name holds `part`."""

    def fault(weights: Weights, config: dict[str, Any]) -> None:
        for name in [n for n in weights if part in n]:
            weights[name] = np.ascontiguousarray(change(weights[name]))

    return fault


def of_config(**changes: Any) -> Fault:
    return lambda weights, config: config.update(changes)


def swapped(values: np.ndarray) -> np.ndarray:
    """Gate and up, which are interleaved along the last axis, in each other's place."""
    return values.reshape(*values.shape[:-1], -1, 2)[..., ::-1].reshape(values.shape)


GPT_OSS_FAULTS: dict[str, Fault] = {
    "sinks missing": of_tensors(".sinks", lambda v: np.full_like(v, -1e9)),
    "expert order": of_tensors("mlp.experts.", lambda v: v[::-1]),
    "gate and up swapped": of_tensors("gate_up_proj", swapped),
    "sliding layers": of_config(layer_types=["full_attention", "sliding_attention", "full_attention"]),
    "rope": of_config(rope_scaling=None),
    "router bias missing": of_tensors("router.bias", np.zeros_like),
}


@pytest.mark.parametrize("name", GPT_OSS_FAULTS)
def test_a_fault_in_gpt_oss_would_show(name: str, unpacked: Path, gpt_oss_reference: Logits, tmp_path: Path) -> None:
    faulty = with_fault(unpacked, tmp_path / "faulty", GPT_OSS_FAULTS[name])
    assert mean_kld(gpt_oss_reference, gguf_logits(faulty, IDS)) >= FAULT_KLD_LIMIT


def keys_transposed(weights: np.ndarray) -> np.ndarray:
    """kv_b_proj with each head's keys as if they had been transposed once too often."""
    heads = weights.reshape(HEADS, -1, KV_RANK).copy()
    heads[:, :PLAIN] = heads[:, :PLAIN].swapaxes(1, 2).reshape(HEADS, PLAIN, KV_RANK)
    return heads.reshape(weights.shape)


def experts_reversed(weights: Weights, config: dict[str, Any]) -> None:
    for layer in range(DENSE, LAYERS):
        for part in ("gate", "up", "down"):
            names = [f"model.layers.{layer}.mlp.experts.{e}.{part}_proj.weight" for e in range(DEEPSEEK_EXPERTS)]
            weights |= dict(zip(names, [weights[name] for name in reversed(names)], strict=True))


DEEPSEEK_FAULTS: dict[str, Fault] = {
    "keys not transposed": of_tensors("kv_b_proj", keys_transposed),
    "routing bias missing": of_tensors("e_score_correction_bias", np.zeros_like),
    "expert order": experts_reversed,
    "norm_topk_prob": of_config(norm_topk_prob=False),
    "routed_scaling_factor": of_config(routed_scaling_factor=1.0),
    "groups of experts": of_config(n_group=1, topk_group=1),
    "shared expert missing": of_tensors("shared_experts", np.zeros_like),
    "rope": of_config(rope_theta=5000.0),
    "mscale": of_config(rope_scaling={**YARN, "mscale": 0.5, "mscale_all_dim": 0.5}),
}


@pytest.mark.parametrize("name", DEEPSEEK_FAULTS)
def test_a_fault_in_deepseek_would_show(name: str, deepseek: Path, deepseek_reference: Logits, tmp_path: Path) -> None:
    faulty = with_fault(deepseek, tmp_path / "faulty", DEEPSEEK_FAULTS[name])
    assert mean_kld(deepseek_reference, gguf_logits(faulty, IDS)) >= FAULT_KLD_LIMIT
