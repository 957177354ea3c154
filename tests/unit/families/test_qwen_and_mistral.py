"""Qwen and Mistral: which tensors they need, and what their graphs would compute wrongly and is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgellm.build.inspection import inspect
from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.header import read_header
from edgellm.errors import BadInput, EdgellmError, UsageError
from edgellm.families import family_of
from reference_logits import with_fault
from tiny_decoders import CLASSES, SHAPE, random_decoder

LLM_JP_4_32B_A3B = {
    "hidden_size": 2560, "num_attention_heads": 40, "num_key_value_heads": 4, "head_dim": 128, "num_hidden_layers": 32,
    "moe_intermediate_size": 960, "num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": True,
    "vocab_size": 196608, "max_position_embeddings": 65536, "rms_norm_eps": 1e-6,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}


def config_of(name: str, **changes: Any) -> dict[str, Any]:
    return {**SHAPE, **CLASSES[name], **changes}


def shapes(name: str, config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {w.name: w.shape for w in family_of(name).weights(config)}


def test_the_tensors_of_llm_jp_4_32b_a3b_count_its_published_parameters() -> None:
    family = family_of("Qwen3MoeForCausalLM")
    family.check(LLM_JP_4_32B_A3B)
    found = shapes("Qwen3MoeForCausalLM", LLM_JP_4_32B_A3B)
    assert sum(int(np.prod(shape)) for shape in found.values()) == 32_139_028_992
    assert found["blk.31.attn_q.weight"] == (5120, 2560)
    assert found["blk.31.ffn_down_exps.weight"] == (128, 2560, 960)
    assert (family.sizes(LLM_JP_4_32B_A3B).experts, family.sizes(LLM_JP_4_32B_A3B).experts_used) == (128, 8)


def test_active_parameters_leave_out_the_experts_that_a_token_does_not_use(tmp_path: Path) -> None:
    """Counted from the tensors: all, less 12 of the 16 experts of each layer."""
    found = inspect(str(random_decoder(tmp_path / "moe", "Qwen3MoeForCausalLM")))
    assert found.parameters is not None
    assert found.active_parameters == found.parameters - 2 * 12 * 3 * 96 * 128


def test_a_gguf_counts_active_parameters_as_its_checkpoint_does(tmp_path: Path) -> None:
    checkpoint = random_decoder(tmp_path / "moe", "MixtralForCausalLM")
    convert(checkpoint, tmp_path / "moe.gguf", "F16")
    assert inspect(str(tmp_path / "moe.gguf")).active_parameters == inspect(str(checkpoint)).active_parameters


def test_routers_stay_in_f32(tmp_path: Path) -> None:
    convert(random_decoder(tmp_path / "moe", "Qwen3MoeForCausalLM"), tmp_path / "moe.gguf", "BF16")
    types = {t.name: t.type for t in read_header(tmp_path / "moe.gguf").tensors}
    assert types["blk.0.ffn_gate_inp.weight"] == "F32"
    assert types["blk.0.ffn_gate_exps.weight"] == "BF16"


def test_qwen2_has_biases_whatever_the_configuration_says_of_them() -> None:
    found = shapes("Qwen2ForCausalLM", config_of("Qwen2ForCausalLM", attention_bias=False))
    biases = {name for name in found if name.startswith("blk.0.") and name.endswith(".bias")}
    assert biases == {f"blk.0.attn_{letter}.bias" for letter in "qkv"}


def test_mixtral_keeps_its_classes_defaults_where_the_configuration_is_silent() -> None:
    config = {k: v for k, v in config_of("MixtralForCausalLM").items() if k not in ("rope_theta", "rms_norm_eps")}
    metadata = family_of("MixtralForCausalLM").metadata(config)
    assert metadata["rope.freq_base"] == 1e6
    assert metadata["attention.layer_norm_rms_epsilon"] == 1e-5
    tables = [family_of("MixtralForCausalLM").tables({**config, "rope_scaling": LLAMA3, **more})["rope_freqs.weight"]
              for more in ({}, {"rope_theta": 1e6}, {"rope_theta": 1e4})]  # fmt: skip
    assert np.array_equal(tables[0], tables[1])
    assert not np.array_equal(tables[0], tables[2])


@pytest.mark.parametrize(
    ("name", "change", "error", "message"),
    [
        ("MistralForCausalLM", {"sliding_window": 256}, UsageError, "sliding window of 256 tokens, which llama.cpp"),
        ("MixtralForCausalLM", {"sliding_window": 511}, UsageError, "to 511, up to which"),
        ("Qwen2ForCausalLM", {"use_sliding_window": True, "sliding_window": 256, "max_window_layers": 1}, UsageError,
         "sliding window of 256"),
        ("Qwen3MoeForCausalLM", {"use_sliding_window": True, "sliding_window": 256}, UsageError, "sliding window"),
        ("Qwen3ForCausalLM", {"use_sliding_window": True, "sliding_window": 256,
         "layer_types": ["full_attention", "sliding_attention"]}, UsageError, "sliding window of 256"),
        ("Qwen3ForCausalLM", {"max_window_layers": "all"}, BadInput, "max_window_layers"),
        ("Qwen3ForCausalLM", {"use_sliding_window": True, "layer_types": 3}, BadInput, '"layer_types" is 3'),
        ("Qwen3ForCausalLM", {"rope_parameters": {"full_attention": {"rope_theta": 1e6}}}, UsageError, "kind of layer"),
        ("Qwen2ForCausalLM", {"head_dim": 64}, UsageError, "heads of width 64 × 4 in a hidden width of 128"),
        ("Qwen2ForCausalLM", {"hidden_act": "gelu"}, UsageError, "activation 'gelu'"),
        ("Qwen2ForCausalLM", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, UsageError, "'dynamic'"),
        ("Qwen3ForCausalLM", {"rope_scaling": {**YARN, "beta_fast": 16}}, UsageError, "beta_fast"),
        ("Qwen3ForCausalLM", {"attention_bias": True}, UsageError, "attention_bias"),
        ("Qwen3MoeForCausalLM", {"norm_topk_prob": False}, UsageError, "norm_topk_prob"),
        ("Qwen3MoeForCausalLM", {"norm_topk_prob": None}, UsageError, "norm_topk_prob"),
        ("Qwen3MoeForCausalLM", {"mlp_only_layers": [0]}, UsageError, "mlp_only_layers"),
        ("Qwen3MoeForCausalLM", {"decoder_sparse_step": 2}, UsageError, "decoder_sparse_step"),
        ("Qwen3MoeForCausalLM", {"num_experts_per_tok": 17}, BadInput, "17 of 16 experts"),
        ("Qwen3MoeForCausalLM", {"num_experts": 1025}, BadInput, "1024 at most"),
        ("Qwen3MoeForCausalLM", {"num_experts": None}, BadInput, "num_experts"),
        ("MixtralForCausalLM", {"num_key_value_heads": 3}, BadInput, "do not divide evenly"),
    ],
)  # fmt: skip
def test_what_the_graph_would_compute_wrongly_is_refused(
    name: str, change: dict[str, Any], error: type[EdgellmError], message: str
) -> None:
    family_of(name).check(config_of(name))
    with pytest.raises(error, match=message):
        family_of(name).check(config_of(name, **change))


@pytest.mark.parametrize("name", ["Qwen2ForCausalLM", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM"])
def test_llama_3s_scaling_is_refused_where_the_graph_knows_no_table_of_frequencies(name: str) -> None:
    with pytest.raises(UsageError, match="'llama3' is not supported for this family"):
        family_of(name).check(config_of(name, rope_scaling=LLAMA3))


def test_a_window_as_long_as_the_context_is_none() -> None:
    family_of("MistralForCausalLM").check(config_of("MistralForCausalLM", sliding_window=512))
    unused = {"use_sliding_window": True, "sliding_window": 256, "max_window_layers": 2}
    family_of("Qwen3ForCausalLM").check(config_of("Qwen3ForCausalLM", **unused))


def test_mistral_has_a_window_where_the_configuration_is_silent() -> None:
    config = config_of("MistralForCausalLM", max_position_embeddings=32768)
    family_of("MistralForCausalLM").check(config)
    del config["sliding_window"]
    with pytest.raises(UsageError, match="4096"):
        family_of("MistralForCausalLM").check(config)


def test_fewer_tokens_than_rows_are_padding(tmp_path: Path) -> None:
    moe = random_decoder(tmp_path / "moe", "Qwen3MoeForCausalLM")
    checkpoint = with_fault(moe, tmp_path / "in", lambda w, c: c.update(vocab_size=8200))
    weights = load_file(checkpoint / "model.safetensors")
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        weights[name] = np.concatenate([weights[name], weights[name][:8]])
    save_file(weights, checkpoint / "model.safetensors")
    convert(checkpoint, tmp_path / "model.gguf", "F16")
    assert read_header(tmp_path / "model.gguf").tokens[8192:] == [f"[PAD{i}]" for i in range(8192, 8200)]
