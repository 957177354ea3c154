"""What a PLaMo configuration comes to: the pattern of layers, the context that is declared, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from edgellm.errors import BadInput, UsageError
from edgellm.families import default_tensor_types, family_of

PLAMO2: dict[str, Any] = {
    "hidden_size": 2048, "num_hidden_layers": 6, "num_attention_heads": 16, "num_key_value_heads": 1,
    "hidden_size_per_head": 128, "max_position_embeddings": 10_485_760, "attention_window_size": 2048,
    "mamba_num_heads": 32, "intermediate_size": 8192, "vocab_size": 100_000,
}  # fmt: skip
PLAMO3: dict[str, Any] = {
    "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
    "max_position_embeddings": 4096, "window_size": 2048, "sliding_window_pattern": 8, "rope_theta": 1_000_000,
    "rope_local_theta": 10_000, "intermediate_size": 16384, "vocab_size": 107_520,
}  # fmt: skip


def metadata(name: str, config: dict[str, Any]) -> dict[str, Any]:
    family = family_of(name)
    family.check(config)
    return family.metadata(config)


@pytest.mark.parametrize(
    ("more", "kv_heads"),
    [
        ({}, [0, 1, 0, 1, 0, 1]),
        ({"mamba_step": 3}, [0, 1, 0, 0, 1, 0]),
        ({"mamba_step": 12}, [0, 0, 0, 0, 0, 1]),  # attention in the last layer of a short model
    ],
)
def test_the_kv_heads_alone_tell_mamba_layers_from_attention(more: dict[str, Any], kv_heads: list[int]) -> None:
    found = metadata("Plamo2ForCausalLM", PLAMO2 | more)
    assert found["attention.head_count_kv"] == kv_heads
    assert found["attention.head_count"] == 16


@pytest.mark.parametrize(
    ("more", "context_tokens"),
    [
        ({}, 2048),
        ({"full_attention_idx": [1, 3]}, 2048),  # layer 5 has a window still
        ({"full_attention_idx": [1, 3, 5]}, 32_768),
        ({"full_attention_idx": [1, 3, 5], "max_position_embeddings": 4096}, 4096),
        ({"attention_window_size": 10_485_760}, 32_768),
    ],
)
def test_the_context_is_what_the_engine_computes_rightly(more: dict[str, Any], context_tokens: int) -> None:
    assert metadata("Plamo2ForCausalLM", PLAMO2 | more)["context_length"] == context_tokens


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"mamba_step": 1}, "mamba_step"),
        ({"num_hidden_layers": 2_000_000_000}, "num_hidden_layers"),
        ({"full_attention_idx": 3}, "full_attention_idx"),
        ({"mamba_d_conv": 1}, "mamba_d_conv"),
        ({"num_key_value_heads": 3}, "3 KV heads"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused_by_its_key(more: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        metadata("Plamo2ForCausalLM", PLAMO2 | more)


def test_a_plamo2_without_mamba_is_refused_since_llama_cpp_ends_the_process_over_it() -> None:
    with pytest.raises(UsageError, match="no Mamba layer"):
        metadata("Plamo2ForCausalLM", PLAMO2 | {"mamba_enabled": False})


def test_plamo3_states_its_window_and_both_ropes() -> None:
    found = metadata("Plamo3ForCausalLM", PLAMO3)
    assert (found["attention.sliding_window"], found["attention.sliding_window_pattern"]) == (2048, 8)
    assert (found["rope.freq_base"], found["rope.freq_base_swa"]) == (1e6, 1e4)
    assert not any(key.startswith("rope.scaling") for key in found)


def test_a_stretched_plamo3_states_its_yarn() -> None:
    found = metadata("Plamo3ForCausalLM", PLAMO3 | {"rope_scaling_factor": 8, "initial_context_length": 4096})
    scaling = {key.removeprefix("rope.scaling."): v for key, v in found.items() if key.startswith("rope.scaling.")}
    assert scaling == {
        "type": "yarn", "factor": 8.0, "original_context_length": 4096, "yarn_beta_fast": 32.0, "yarn_beta_slow": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("more", [{"scale_embedding": True}, {"linear_type": "fp8"}])
def test_a_plamo3_that_engines_compute_otherwise_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="PLaMo 3"):
        metadata("Plamo3ForCausalLM", PLAMO3 | more)


@pytest.mark.parametrize("name", ["Plamo2ForCausalLM", "Plamo3ForCausalLM"])
def test_theta_is_read_in_the_form_of_transformers_5_too(name: str) -> None:
    config = PLAMO2 if name.startswith("Plamo2") else PLAMO3
    stated = {"rope_parameters": {"rope_type": "default", "rope_theta": 500_000}}
    assert metadata(name, config | stated)["rope.freq_base"] == 5e5


@pytest.mark.parametrize("name", ["Plamo2ForCausalLM", "Plamo3ForCausalLM"])
@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
def test_a_stretched_rope_in_other_families_form_is_refused(name: str, key: str) -> None:
    config = PLAMO2 if name.startswith("Plamo2") else PLAMO3
    with pytest.raises(UsageError, match="'linear' is not supported"):
        metadata(name, config | {key: {"rope_type": "linear", "factor": 2.0}})


def test_only_plamo2_has_rules_of_its_own() -> None:
    assert set(default_tensor_types("plamo2").values()) == {"F16"}
    assert not default_tensor_types("plamo3")
