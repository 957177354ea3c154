"""What the conversion of gpt-oss and DeepSeek-V3 keeps to the bit, leaves out and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file

from edgellm.build.inspection import inspect
from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.quantize import quantize
from edgellm.errors import BadInput, EdgellmError, UsageError
from edgellm.families import family_of
from edgellm.stages.convert import convert as convert_stage
from edgellm.store.checkpoint import read_json
from edgellm.store.work import WorkFolder
from reference_conversion import data
from reference_logits import with_fault
from tiny_deepseek import LAYERS, YARN, random_deepseek
from tiny_gpt_oss import random_gpt_oss, unpack


@pytest.fixture(scope="module")
def gpt_oss(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_gpt_oss(tmp_path_factory.mktemp("gpt-oss") / "packed")


@pytest.fixture(scope="module")
def base(gpt_oss: Path) -> Path:
    convert(gpt_oss, gpt_oss.with_suffix(".gguf"), "F32")
    return gpt_oss.with_suffix(".gguf")


@pytest.fixture(scope="module")
def deepseek(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_deepseek(tmp_path_factory.mktemp("deepseek") / "whole", further_layers=1)


def tensors(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {t.name: (t.type, t.shape, data(path, t)) for t in read_header(path).tensors}


def test_mxfp4_blocks_hold_the_checkpoints_values(gpt_oss: Path, base: Path) -> None:
    weights, found = load_file(gpt_oss / "model.safetensors"), tensors(base)
    unpack(weights, {})
    both, down = (
        weights[f"model.layers.1.mlp.experts.{part}"].swapaxes(1, 2) for part in ("gate_up_proj", "down_proj")
    )
    for name, expected in (("gate", both[:, ::2]), ("up", both[:, 1::2]), ("down", down)):
        type_name, shape, raw = found[f"blk.1.ffn_{name}_exps.weight"]
        blocks = np.frombuffer(raw, np.uint8).reshape(shape[0], shape[1], -1)
        assert (type_name, shape) == ("MXFP4", expected.shape)
        assert np.array_equal(gguf.dequantize(blocks, gguf.GGMLQuantizationType.MXFP4), expected)


@pytest.mark.parametrize("type_name", ["Q8_0", "MXFP4_MOE", "Q4_K_M", "F16"])
def test_weights_that_are_mxfp4_stay_so_in_every_type(type_name: str, base: Path, tmp_path: Path) -> None:
    report = quantize(base, tmp_path / "out.gguf", type_name, allow_fallback=True)
    before, after = tensors(base), tensors(tmp_path / "out.gguf")
    experts = [name for name, (kind, _, _) in before.items() if kind == "MXFP4"]
    assert len(experts) == 9
    assert {name: after[name] for name in experts} == {name: before[name] for name in experts}
    assert after["output.weight"][0] != "F32"
    assert {t.got for t in report.tensors if t.name in experts} == {"MXFP4"}


def test_mxfp4_cannot_be_asked_to_become_another_type(base: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"ffn_down_exps\.weight is MXFP4 already"):
        quantize(base, tmp_path / "out.gguf", "Q8_0", tensor_types={"ffn_down_exps": "Q8_0"})
    assert not (tmp_path / "out.gguf").exists()


def test_a_scale_that_is_no_number_is_told(gpt_oss: Path, tmp_path: Path) -> None:
    def fault(weights: dict[str, np.ndarray], config: dict[str, Any]) -> None:
        weights["model.layers.2.mlp.experts.down_proj_scales"][3, 5, 1] = 255

    with pytest.raises(BadInput, match=r"layers\.2\.mlp\.experts\.down_proj hold NaN at \[3, 5, 1\]"):
        convert(with_fault(gpt_oss, tmp_path / "nan", fault), tmp_path / "out.gguf", "F16")
    assert not (tmp_path / "out.gguf").exists()


def test_layers_that_predict_further_tokens_are_left_out_and_told(deepseek: Path, tmp_path: Path) -> None:
    notes: list[str] = []

    class Notes:
        def work(self, label: str) -> Any:
            from contextlib import nullcontext

            return nullcontext(lambda done, total: None)

        def note(self, text: str) -> None:
            notes.append(text)

    made = convert_stage(deepseek, "F16", WorkFolder(tmp_path), progress=Notes())
    header = read_header(made.folder / "model.gguf")
    assert not [t.name for t in header.tensors if t.name.startswith(f"blk.{LAYERS}.")]
    assert notes == [
        "whole: its layers that predict several tokens ahead are left out, since no answer depends on them"
    ]


def test_groups_that_are_all_used_are_written_as_no_groups(deepseek: Path, tmp_path: Path) -> None:
    """llama.cpp would end the process over as many used groups as there are."""
    same = with_fault(deepseek, tmp_path / "same", lambda weights, config: config.update(n_group=2, topk_group=2))
    convert(same, tmp_path / "out.gguf", "F16")
    metadata = read_header(tmp_path / "out.gguf").metadata
    assert (metadata["deepseek2.expert_group_count"], metadata["deepseek2.expert_group_used_count"]) == (1, 1)


def test_a_packed_checkpoint_counts_parameters_as_its_gguf_does(gpt_oss: Path, base: Path) -> None:
    checkpoint, artifact = inspect(str(gpt_oss)), inspect(str(base))
    assert (checkpoint.parameters, checkpoint.active_parameters) == (artifact.parameters, artifact.active_parameters)
    assert checkpoint.active_parameters != checkpoint.parameters


def without(checkpoint: Path, *keys: str) -> dict[str, Any]:
    return {key: value for key, value in read_json(checkpoint / "config.json").items() if key not in keys}


def test_deepseek_takes_its_classes_defaults_where_the_configuration_is_silent(deepseek: Path) -> None:
    keys = ("routed_scaling_factor", "n_group", "topk_group", "first_k_dense_replace")
    found = family_of("DeepseekV3ForCausalLM").metadata(without(deepseek, *keys))
    names = ("expert_weights_scale", "expert_group_count", "expert_group_used_count", "leading_dense_block_count")
    assert [found[name] for name in names] == [2.5, 8, 4, 3]


def test_gpt_oss_takes_its_classes_defaults_where_the_configuration_is_silent(gpt_oss: Path) -> None:
    config = without(gpt_oss, "rms_norm_eps", "rope_theta", "rope_scaling")
    family = family_of("GptOssForCausalLM")
    family.check(config)
    found = family.metadata(config)
    names = ("attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.scaling.type", "rope.scaling.factor")
    assert [found[name] for name in names] == [1e-5, 150_000.0, "yarn", 32.0]
    assert found["rope.scaling.original_context_length"] == 4096


def test_packed_weights_that_are_no_bytes_are_told(gpt_oss: Path, tmp_path: Path) -> None:
    name = "model.layers.1.mlp.experts.down_proj_blocks"

    def fault(weights: dict[str, np.ndarray], config: dict[str, Any]) -> None:
        weights[name] = weights[name].astype(np.int16)

    with pytest.raises(BadInput, match=rf"tensor {name} .* stored as I16"):
        convert(with_fault(gpt_oss, tmp_path / "wide", fault), tmp_path / "out.gguf", "F16")


def test_further_layers_in_words_are_told(deepseek: Path, tmp_path: Path) -> None:
    refused(deepseek, tmp_path, {"num_nextn_predict_layers": "1"}, "num_nextn_predict_layers")


LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
DEEPSEEK_REFUSED = {
    "llama 3's rope": ({"rope_scaling": LLAMA3}, "'llama3' is not supported for this family"),
    "no mscale": ({"rope_scaling": {k: v for k, v in YARN.items() if not k.startswith("mscale")}}, "mscale"),
    "two mscales": ({"rope_scaling": {**YARN, "mscale": 0.7}}, "mscale"),
    "softmax": ({"scoring_func": "softmax"}, "scoring_func"),
    "biases": ({"attention_bias": True}, "attention_bias"),
    "halves": ({"rope_interleave": False}, "rope_interleave"),
    "no q_lora_rank": ({"q_lora_rank": None}, "q_lora_rank"),
    "lite": ({"num_hidden_layers": 27}, "27 layers"),
    "groups of one": ({"n_group": 8, "topk_group": 4}, "groups of two"),
    "uneven groups": ({"n_group": 3}, "groups"),
    "other packing": ({"quantization_config": {"quant_method": "awq"}}, "quantized"),
    "fp8 of a row": ({"quantization_config": {"quant_method": "fp8"}}, "quantized"),
}


@pytest.mark.parametrize("case", DEEPSEEK_REFUSED)
def test_what_a_deepseek_graph_would_compute_wrongly_is_refused(case: str, deepseek: Path, tmp_path: Path) -> None:
    changes, said = DEEPSEEK_REFUSED[case]
    refused(deepseek, tmp_path, changes, said)


GPT_OSS_REFUSED = {
    "no window": ({"layer_types": ["full_attention"] * 3}, "sliding window"),
    "unknown layer": ({"layer_types": ["full_attention", "chunked_attention", "sliding_attention"]}, "layer_types"),
    "too few layers": ({"layer_types": ["sliding_attention"]}, "layer_types"),
    "llama 3's rope": ({"rope_scaling": LLAMA3}, "'llama3' is not supported for this family"),
    "other limit": ({"swiglu_limit": 5.0}, "clips"),
    "tied": ({"tie_word_embeddings": True}, "output matrix"),
    "other packing": ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantized"),
    "odd width": ({"hidden_size": 72}, "multiples of 32"),
}


@pytest.mark.parametrize("case", GPT_OSS_REFUSED)
def test_what_a_gpt_oss_graph_would_compute_wrongly_is_refused(case: str, gpt_oss: Path, tmp_path: Path) -> None:
    changes, said = GPT_OSS_REFUSED[case]
    refused(gpt_oss, tmp_path, changes, said)


def refused(checkpoint: Path, folder: Path, changes: dict[str, Any], said: str) -> None:
    wrong = with_fault(checkpoint, folder / "wrong", lambda weights, config: config.update(changes))
    with pytest.raises(EdgellmError, match=said) as found:
        convert(wrong, folder / "out.gguf", "F16")
    assert isinstance(found.value, BadInput | UsageError)
    assert "\n" not in str(found.value)
    assert not (folder / "out.gguf").exists()
