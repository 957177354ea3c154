from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgellm.engines.gguf import ggml_tensor, imatrix_child
from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.imatrix import collect, coverage
from edgellm.engines.gguf.imatrix_file import Imatrix, merge
from edgellm.errors import BadInput, EngineFailed, UsageError
from tiny_checkpoints import random_llama
from tiny_gguf import (
    EXPERTS,
    EXPERTS_USED,
    VOCAB,
    Random,
    common_metadata,
    dense_gguf,
    expert_metadata,
    experts_gguf,
    write_gguf,
)

CHUNKS = np.random.default_rng(1).integers(0, VOCAB, (3, 48)).tolist()

# Hugging Face's module names of one layer → GGUF's
DENSE = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip
EXPERT = {"gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps", "down_proj": "ffn_down_exps"}


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dense_gguf(tmp_path_factory.mktemp("dense") / "dense.gguf")


def squared_inputs(model: Any, chunks: list[list[int]]) -> dict[str, tuple[np.ndarray, int]]:
    """Sums of squared inputs and row counts of every nn.Linear, by name, over a transformers forward pass."""
    import torch

    seen: dict[str, tuple[np.ndarray, int]] = {}

    def hook(name: str) -> Callable[..., None]:
        def look(_module: object, inputs: tuple[Any, ...]) -> None:
            rows = inputs[0].detach().reshape(-1, inputs[0].shape[-1]).double()
            sums, count = seen.get(name, (0.0, 0))
            seen[name] = (sums + (rows**2).sum(0).numpy(), count + len(rows))

        return look

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(hook(name))
    with torch.no_grad():
        for chunk in chunks:
            model(torch.tensor([chunk]))
    return seen


def assert_same(found: Imatrix, weight: str, expert: int, sums: np.ndarray, count: int) -> None:
    entry = found.entries[weight]
    assert entry.counts[expert] == count, weight
    # llama.cpp keeps keys and values in F16, hence not closer.
    np.testing.assert_allclose(entry.in_sum2[expert], sums, rtol=5e-3, atol=1e-3 * sums.mean(), err_msg=weight)


def test_sums_and_counts_are_those_of_a_transformers_forward_pass(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = random_llama(tmp_path / "checkpoint", layers=2, scale=1.0)
    convert(folder, tmp_path / "f32.gguf", "F32")
    found = collect(tmp_path / "f32.gguf", CHUNKS)
    wanted = squared_inputs(transformers.LlamaForCausalLM.from_pretrained(folder, torch_dtype="float32"), CHUNKS)
    names = {f"model.layers.{i}.{theirs}": f"blk.{i}.{ours}.weight" for i in range(2) for theirs, ours in DENSE.items()}
    assert found.entries.keys() == set(names.values())
    for theirs, ours in names.items():
        assert_same(found, ours, 0, *wanted[theirs])


def test_experts_are_counted_apart_as_transformers_routes_them(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    import torch

    hidden, width = 128, 96
    config = transformers.Qwen3MoeConfig(
        vocab_size=VOCAB, hidden_size=hidden, intermediate_size=width, moe_intermediate_size=width,
        num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, head_dim=hidden // 4,
        num_experts=EXPERTS, num_experts_per_tok=EXPERTS_USED, norm_topk_prob=True, rms_norm_eps=1e-5,
        rope_theta=10000.0, max_position_embeddings=512, tie_word_embeddings=False, initializer_range=0.09,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.Qwen3MoeForCausalLM(config).eval()
    weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    path = write_gguf(
        tmp_path / "moe.gguf",
        "qwen3moe",
        common_metadata(1, hidden, width) | expert_metadata(width),
        as_gguf(weights),
    )
    found = collect(path, CHUNKS)
    wanted = squared_inputs(model, CHUNKS)
    for expert in range(EXPERTS):
        for theirs, ours in EXPERT.items():
            sums, count = wanted.get(f"model.layers.0.mlp.experts.{expert}.{theirs}", (np.zeros(1), 0))
            assert_same(found, f"blk.0.{ours}.weight", expert, sums, count)
    assert_same(found, "blk.0.ffn_gate_inp.weight", 0, *wanted["model.layers.0.mlp.gate"])
    assert found.entries["blk.0.ffn_up_exps.weight"].counts.sum() == EXPERTS_USED * np.size(CHUNKS)


def as_gguf(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A one-layer Qwen3MoE's weights under GGUF's names, experts stacked."""
    layer = "model.layers.0"
    tensors = {
        "token_embd.weight": weights["model.embed_tokens.weight"],
        "output_norm.weight": weights["model.norm.weight"],
        "output.weight": weights["lm_head.weight"],
        "blk.0.attn_norm.weight": weights[f"{layer}.input_layernorm.weight"],
        "blk.0.ffn_norm.weight": weights[f"{layer}.post_attention_layernorm.weight"],
        "blk.0.attn_q_norm.weight": weights[f"{layer}.self_attn.q_norm.weight"],
        "blk.0.attn_k_norm.weight": weights[f"{layer}.self_attn.k_norm.weight"],
        "blk.0.ffn_gate_inp.weight": weights[f"{layer}.mlp.gate.weight"],
    }  # fmt: skip
    for theirs, ours in list(DENSE.items())[:4]:
        tensors[f"blk.0.{ours}.weight"] = weights[f"{layer}.{theirs}.weight"]
    for theirs, ours in EXPERT.items():
        stacked = [weights[f"{layer}.mlp.experts.{e}.{theirs}.weight"] for e in range(EXPERTS)]
        tensors[f"blk.0.{ours}.weight"] = np.stack(stacked)
    return tensors


def test_stacked_dense_matrices_stand_after_one_another_under_one_count() -> None:
    rows = np.arange(2 * 3 * 4, dtype=np.float32).reshape(1, 2, 3, 4)
    found = imatrix_child.of_dense((2, 1), rows)
    assert found.in_sum2.tolist() == [[*(rows[0, 0] ** 2).sum(0), *(rows[0, 1] ** 2).sum(0)]]
    assert found.counts.tolist() == [3]


def test_an_expert_that_nothing_is_routed_to_shows_in_the_coverage(tmp_path: Path) -> None:
    path = experts_gguf(tmp_path / "moe.gguf")
    one_token = collect(path, [[7] * 16])  # the same token again: few experts are chosen
    counts = one_token.entries["blk.0.ffn_down_exps.weight"].counts
    assert 0 < (counts > 0).sum() < EXPERTS
    assert coverage(one_token)["blk.0.ffn_down_exps.weight"] == (counts > 0).mean()
    assert coverage(one_token)["blk.0.attn_q.weight"] == 1.0


def test_matrices_over_two_texts_add_up_to_the_matrix_over_both(dense: Path) -> None:
    both, added = collect(dense, CHUNKS), merge(collect(dense, CHUNKS[:1]), collect(dense, CHUNKS[1:]))
    assert (both.chunk_count, both.chunk_tokens) == (added.chunk_count, added.chunk_tokens) == (3, 512)
    for name, entry in both.entries.items():
        np.testing.assert_allclose(added.entries[name].in_sum2, entry.in_sum2, rtol=1e-5)
        np.testing.assert_array_equal(added.entries[name].counts, entry.counts)


def test_chunks_of_different_lengths_are_seen_whole_and_reported(dense: Path) -> None:
    reports: list[tuple[int, int]] = []
    found = collect(dense, [[1] * 16, [2] * 100, [3] * 512], lambda done, total: reports.append((done, total)))
    assert found.entries["blk.0.ffn_up.weight"].counts.tolist() == [628]
    assert reports == [(1, 3), (2, 3), (3, 3)]


def test_the_output_weight_is_collected_on_request(dense: Path) -> None:
    assert "output.weight" not in collect(dense, CHUNKS[:1]).entries
    assert collect(dense, CHUNKS[:1], output_weight=True).entries["output.weight"].counts.tolist() == [48]


@pytest.mark.parametrize("lengths", [[], [15], [32, 513]])
def test_chunks_of_another_length_are_refused(dense: Path, lengths: list[int]) -> None:
    with pytest.raises(UsageError, match="16 to 512 tokens"):
        collect(dense, [[1] * n for n in lengths])


def test_ids_outside_the_vocabulary_are_refused(dense: Path) -> None:
    with pytest.raises(BadInput, match=f"up to {VOCAB} and .* has {VOCAB} tokens"):
        collect(dense, [[VOCAB] * 16])


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF\x03" + bytes(50))
    with pytest.raises(BadInput, match=r"x\.gguf"):
        collect(tmp_path / "x.gguf", CHUNKS)


def test_a_model_that_computes_no_numbers_is_refused_from_inside_the_callback(tmp_path: Path) -> None:
    random = Random(0)
    tensors = {"token_embd.weight": random.matrix(VOCAB, 256), "output_norm.weight": random.norm(256)}
    tensors |= random.attention("blk.0", 256)
    for name, shape in (("ffn_gate", (256, 256)), ("ffn_up", (256, 256)), ("ffn_down", (256, 256))):
        tensors[f"blk.0.{name}.weight"] = random.matrix(*shape)
    tensors["blk.0.ffn_norm.weight"] = np.full(256, np.nan, np.float32)
    path = write_gguf(tmp_path / "nan.gguf", "llama", common_metadata(1, 256, 256), tensors)
    with pytest.raises(BadInput, match=r"not finite at the input of blk\.0\.ffn_"):
        collect(path, CHUNKS)


def test_a_devices_copy_of_a_weight_counts_as_the_weight() -> None:
    weight, node = ggml_tensor.GgmlTensor(name=b"CUDA0#blk.3.attn_q.weight#0"), ggml_tensor.GgmlTensor()
    node.src[0] = ctypes.addressof(weight)
    assert imatrix_child.weight_name(node) == "blk.3.attn_q.weight"


def test_the_layout_check_passes_on_the_pinned_library() -> None:
    ggml_tensor.check_layout()


@pytest.mark.parametrize("pair", [("ne", "nb"), ("buffer", "data"), ("type", "op"), ("op_params", "name")])
def test_the_layout_check_fails_when_fields_are_elsewhere(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str]
) -> None:
    fields = list(ggml_tensor.GgmlTensor._fields_)
    first, second = ([name for name, _ in fields].index(name) for name in pair)
    fields[first], fields[second] = fields[second], fields[first]
    swapped = type("Swapped", (ctypes.Structure,), {"_fields_": fields})
    monkeypatch.setattr(ggml_tensor, "GgmlTensor", swapped)
    with pytest.raises(EngineFailed, match="lays out its tensors in another way"):
        ggml_tensor.check_layout()
