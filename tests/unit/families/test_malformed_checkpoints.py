"""A checkpoint of any family with something wrong gets one sentence that names it, and leaves nothing behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgellm.engines.gguf.convert import convert
from edgellm.errors import BadInput, EdgellmError, UsageError
from reference_logits import Weights, with_fault
from tiny_checkpoints import random_llama
from tiny_decoders import random_decoder
from tiny_deepseek import random_deepseek
from tiny_gpt_oss import random_gpt_oss
from tiny_plamo import random_plamo2, random_plamo3

# How a checkpoint of each kind of family is made, and a matrix of its last part.
KINDS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "dense": (lambda at: random_llama(at, hidden=32, heads=2, ffn=64), "model.layers.1.mlp.down_proj.weight"),
    "experts": (lambda at: random_decoder(at, "Qwen3MoeForCausalLM"), "model.layers.1.mlp.experts.3.down_proj.weight"),
    "gpt-oss": (random_gpt_oss, "model.layers.1.mlp.router.weight"),
    "DeepSeek": (random_deepseek, "model.layers.1.self_attn.kv_b_proj.weight"),
    "PLaMo 2": (random_plamo2, "model.layers.layers.2.mixer.bcdt_proj.weight"),
    "PLaMo 3": (lambda at: random_plamo3(at, layers=2), "model.layers.layers.1.mixer.qkv_proj.weight"),
}
ENDS = ("embed_tokens.weight", "lm_head.weight")


def missing(matrix: str, weights: Weights, config: dict[str, Any]) -> None:
    del weights[matrix]


def turned(matrix: str, weights: Weights, config: dict[str, Any]) -> None:
    weights[matrix] = np.ascontiguousarray(weights[matrix].T)


def one_too_many(matrix: str, weights: Weights, config: dict[str, Any]) -> None:
    weights[f"{matrix}_2"] = weights[matrix].copy()


def not_a_number(matrix: str, weights: Weights, config: dict[str, Any]) -> None:
    weights[matrix][2, 5] = np.nan


def unknown_rope(matrix: str, weights: Weights, config: dict[str, Any]) -> None:
    config["rope_scaling"] = {"rope_type": "spiral"}


def fewer_rows_than_tokens(matrix: str, weights: Weights, config: dict[str, Any]) -> None:
    config["vocab_size"] = 1900
    for name in weights:
        if name.endswith(ENDS):
            weights[name] = weights[name][:1900]


FAULTS: dict[str, tuple[Callable[[str, Weights, dict[str, Any]], None], type[EdgellmError], str]] = {
    "missing": (missing, BadInput, "lacks the tensor {}"),
    "of another shape": (turned, BadInput, "tensor {} .* has shape"),
    "one too many": (one_too_many, BadInput, "holds the tensor {}_2"),
    "not a number": (not_a_number, BadInput, r"tensor {} .* holds nan at \[2, 5\]"),
    "unknown rope": (unknown_rope, UsageError, "kind 'spiral'"),
    "tokenizer too large": (fewer_rows_than_tokens, BadInput, "tokens where vocab_size .* 1900 rows"),
}


@pytest.fixture(scope="module", params=KINDS)
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    build, matrix = KINDS[request.param]
    return build(tmp_path_factory.mktemp("sound") / "checkpoint"), matrix


@pytest.mark.parametrize("fault", FAULTS)
def test_a_malformed_checkpoint_gets_one_sentence_and_leaves_nothing(
    fault: str, sound: tuple[Path, str], tmp_path: Path
) -> None:
    (checkpoint, matrix), (plant, error, message) = sound, FAULTS[fault]
    faulty = with_fault(checkpoint, tmp_path / "in", lambda weights, config: plant(matrix, weights, config))
    with pytest.raises(error, match=message.format(re.escape(matrix))) as caught:
        convert(faulty, tmp_path / "out" / "model.gguf", "F16")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())
