"""Families: the registry, Llama's tensor map and what it refuses, and the stretching of RoPE."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgellm.errors import BadInput, UnknownFamily, UsageError
from edgellm.families import family_of
from edgellm.families.llama import FAMILY, interleave_rotary
from edgellm.families.rope import llama3_factors, rope_of, scaling_metadata

CONFIG: dict[str, Any] = {
    "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 3,
    "intermediate_size": 96, "vocab_size": 100, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192}  # fmt: skip


def test_a_class_without_a_family_is_named_with_the_way_out() -> None:
    with pytest.raises(UnknownFamily, match=r"SomethingNewForCausalLM.*llama\.cpp.*accepted by every verb"):
        family_of("SomethingNewForCausalLM")


def test_every_llama_weight_has_one_source_and_one_name() -> None:
    weights = list(FAMILY.weights(CONFIG))
    assert len(weights) == 3 + 3 * 9
    assert len({w.name for w in weights}) == len({w.sources for w in weights}) == len(weights)


def test_a_tied_model_has_no_output_matrix_of_its_own() -> None:
    names = {w.name for w in FAMILY.weights(CONFIG | {"tie_word_embeddings": True})}
    assert {w.name for w in FAMILY.weights(CONFIG)} - names == {"output.weight"}


def test_heads_may_be_wider_than_their_share_of_the_hidden_width() -> None:
    config = CONFIG | {"head_dim": 32}
    shapes = {w.name: w.shape for w in FAMILY.weights(config)}
    assert shapes["blk.0.attn_q.weight"] == (128, 64)
    assert shapes["blk.0.attn_k.weight"] == (64, 64)
    assert shapes["blk.0.attn_output.weight"] == (64, 128)
    assert FAMILY.metadata(config)["attention.key_length"] == 32


def test_biases_are_mapped_where_the_configuration_has_them() -> None:
    names = {w.name for w in FAMILY.weights(CONFIG | {"attention_bias": True})}
    assert {"blk.2.attn_q.bias", "blk.2.attn_output.bias"} <= names
    assert "blk.2.ffn_up.bias" not in names


def test_rotating_pairs_after_interleaving_is_rotating_halves_before() -> None:
    heads, dim, rng = 3, 8, np.random.default_rng(0)
    rows = rng.standard_normal((heads * dim, 5)).astype(np.float32)
    x, angles = rng.standard_normal(5).astype(np.float32), rng.uniform(0, 3, dim // 2)
    cos, sin = np.cos(angles), np.sin(angles)
    halves = (rows @ x).reshape(heads, 2, dim // 2)
    rotated_halves = np.stack([halves[:, 0] * cos - halves[:, 1] * sin, halves[:, 1] * cos + halves[:, 0] * sin], 1)
    pairs = (interleave_rotary(heads, rows) @ x).reshape(heads, dim // 2, 2)
    rotated_pairs = np.stack([pairs[..., 0] * cos - pairs[..., 1] * sin, pairs[..., 1] * cos + pairs[..., 0] * sin], 2)
    np.testing.assert_allclose(rotated_pairs, rotated_halves.swapaxes(1, 2), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"hidden_act": "gelu"}, UsageError),
        ({"quantization_config": {"quant_method": "gptq"}}, UsageError),
        ({"num_key_value_heads": 3}, BadInput),
        ({"hidden_size": None}, BadInput),
        ({"vocab_size": "many"}, BadInput),
        ({"num_hidden_layers": -1}, BadInput),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, UsageError),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, BadInput),
        ({"rope_scaling": {"rope_type": "yarn"}}, BadInput),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "beta_fast": 16.0}}, UsageError),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.25}}, UsageError),
        (
            {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "mscale": 1, "mscale_all_dim": 1}},
            UsageError,
        ),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "truncate": False}}, UsageError),
        ({"rope_scaling": "linear"}, BadInput),
        ({"rope_scaling": {"rope_type": ["linear"]}}, UsageError),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 0}}, BadInput),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": "8k"}}, BadInput),
        ({"rope_scaling": {**LLAMA3, "low_freq_factor": 4.0}}, BadInput),
        ({"rope_theta": float("nan")}, BadInput),
        ({"max_position_embeddings": 1 << 40}, BadInput),
    ],
)
def test_a_configuration_that_would_be_computed_wrongly_is_refused(
    change: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        FAMILY.check(CONFIG | change)


@pytest.mark.parametrize("value", ["small", 0, -1e-6, float("nan"), float("inf"), True])
def test_an_epsilon_that_is_no_positive_number_is_refused(value: object) -> None:
    with pytest.raises(BadInput, match="rms_norm_eps"):
        FAMILY.metadata(CONFIG | {"rms_norm_eps": value})


def test_a_billion_layers_cost_nothing_before_the_first_is_looked_for() -> None:
    weights = iter(FAMILY.weights(CONFIG | {"num_hidden_layers": 10**9}))
    assert next(weights).name == "token_embd.weight"


def test_rope_settings_of_transformers_5_are_read_as_the_older_ones() -> None:
    older = CONFIG | {"rope_theta": 5e5, "rope_scaling": LLAMA3}
    newer = CONFIG | {"rope_parameters": LLAMA3 | {"rope_theta": 5e5}}
    assert scaling_metadata(rope_of(older, 512)) == scaling_metadata(rope_of(newer, 512)) == {"rope.freq_base": 5e5}
    np.testing.assert_array_equal(FAMILY.tables(older)["rope_freqs.weight"], FAMILY.tables(newer)["rope_freqs.weight"])


def test_yarn_without_an_original_context_takes_that_of_the_model() -> None:
    rope = rope_of(CONFIG | {"rope_scaling": {"rope_type": "yarn", "factor": 4}}, 512)
    assert scaling_metadata(rope)["rope.scaling.original_context_length"] == 512


def test_llama3_factors_are_those_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = CONFIG | {"head_dim": 128, "rope_theta": 500000.0}
    plain = transformers.LlamaConfig(**config)
    stretched = transformers.LlamaConfig(**config, rope_scaling=LLAMA3)
    frequencies = 1.0 / 500000.0 ** (np.arange(0, 128, 2) / 128)
    expected = frequencies / ROPE_INIT_FUNCTIONS["llama3"](stretched, "cpu")[0].numpy()
    assert plain.rope_scaling is None
    found = llama3_factors(rope_of(config | {"rope_scaling": LLAMA3}, 512), 128)
    assert found.dtype == np.float32
    assert found[0] == 1
    assert found[-1] == 8
    np.testing.assert_allclose(found, expected, rtol=1e-6)
