"""LoRA adapters: what PEFT trained is what llama.cpp adds, and what it would add wrongly is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgellm.engines import open_runtime
from edgellm.engines.gguf.adapter import SETTINGS, WEIGHTS, convert_adapter
from edgellm.engines.gguf.adapter_check import check_adapter
from edgellm.engines.gguf.header import Header, read_header
from edgellm.engines.gguf.reader import TensorInfo
from edgellm.engines.protocol import Feed, Runtime, RuntimeOptions
from edgellm.errors import BadInput, EdgellmError, UsageError
from edgellm.store.checkpoint import read_json
from peft_adapters import ALPHA, RANK, merged, random_adapter
from reference_logits import artifact_logits, gguf_logits, mean_kld, same_top
from tiny_checkpoints import random_llama
from tiny_deepseek import random_deepseek
from tiny_gpt_oss import random_gpt_oss

IDS = np.random.default_rng(1).integers(10, 8000, 60).tolist()
OTHER_IDS = IDS[::-1]
Q_PROJ = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_llama(tmp_path_factory.mktemp("lora") / "base", hidden=128, ffn=256)


@pytest.fixture(scope="module")
def artifact(base: Path) -> Path:
    gguf_logits(base, IDS[:1], "F32")
    return base.with_suffix(".F32.gguf")


@pytest.fixture(scope="module")
def folders(base: Path) -> dict[str, Path]:
    """One adapter on every projection, one on two of them and the output matrix."""
    return {
        "every": random_adapter(base.parent / "every", base, seed=1),
        "some": random_adapter(base.parent / "some", base, seed=2, modules=("q_proj", "down_proj", "lm_head")),
    }


@pytest.fixture(scope="module")
def adapters(base: Path, folders: dict[str, Path]) -> dict[str, Path]:
    found = {name: folder.with_suffix(".gguf") for name, folder in folders.items()}
    for name, folder in folders.items():
        convert_adapter(folder, read_json(base / "config.json"), found[name])
    return found


@pytest.fixture(scope="module")
def runtime(artifact: Path, adapters: dict[str, Path]) -> Iterator[Runtime]:
    opened = open_runtime("gguf", artifact, RuntimeOptions(256, 4, 1, adapters=adapters))
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def emptied(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "runtime" in request.fixturenames:
        runtime = request.getfixturevalue("runtime")
        for sequence in range(4):
            runtime.keep(sequence, 0)


def test_the_file_says_what_llama_cpp_asks_for(adapters: dict[str, Path]) -> None:
    header = read_header(adapters["every"])
    assert {key: header.metadata[key] for key in ("general.type", "general.architecture", "adapter.type")} == {
        "general.type": "adapter", "general.architecture": "llama", "adapter.type": "lora",
    }  # fmt: skip
    assert header.metadata["adapter.lora.alpha"] == ALPHA
    shapes = {tensor.name: tensor.shape for tensor in header.tensors}
    assert shapes["blk.1.attn_k.weight.lora_a"] == (RANK, 128)
    assert shapes["blk.1.attn_k.weight.lora_b"] == (64, RANK)
    assert len(shapes) == 2 * 7 * 2


@pytest.mark.parametrize("name", ["every", "some"])
def test_base_and_adapter_give_the_logits_of_merged_weights(
    name: str, base: Path, artifact: Path, folders: dict[str, Path], runtime: Runtime, tmp_path: Path
) -> None:
    expected = gguf_logits(merged(base, folders[name], tmp_path / "merged"), IDS, "F32")
    found = runtime.step([Feed(0, IDS, "all", name)])[0].copy()
    assert mean_kld(expected, found) <= 1e-4
    assert same_top(expected, found) >= 0.99
    assert mean_kld(expected, artifact_logits("gguf", artifact, IDS)) >= 1e-2


def test_rank_stabilised_adapters_are_scaled_by_the_root_of_the_rank(
    base: Path, artifact: Path, tmp_path: Path
) -> None:  # fmt: skip
    folder = random_adapter(tmp_path / "stabilised", base, use_rslora=True)
    convert_adapter(folder, read_json(base / "config.json"), tmp_path / "adapter.gguf")
    expected = gguf_logits(merged(base, folder, tmp_path / "merged", ALPHA / RANK**0.5), IDS, "F32")
    opened = open_runtime("gguf", artifact, RuntimeOptions(64, 1, 1, adapters={"x": tmp_path / "adapter.gguf"}))
    try:
        found = opened.step([Feed(0, IDS, "all", "x")])[0].copy()
    finally:
        opened.close()
    assert mean_kld(expected, found) <= 1e-4


def test_sequences_with_different_adapters_in_one_step_do_not_feel_each_other(runtime: Runtime) -> None:
    asked = [(0, IDS, "every"), (1, OTHER_IDS, None), (2, IDS, "some"), (3, OTHER_IDS, "every")]
    alone = []
    for sequence, ids, adapter in asked:
        first = runtime.step([Feed(sequence, ids, "last", adapter)])[0].copy()
        alone.append(np.concatenate([first, runtime.step([Feed(sequence, [7], "last", adapter)])[0]]))
        runtime.keep(sequence, 0)
    first_rows = [row.copy() for row in runtime.step([Feed(s, ids, "last", adapter) for s, ids, adapter in asked])]
    next_rows = runtime.step([Feed(sequence, [7], "last", adapter) for sequence, _, adapter in asked])
    assert [runtime.held(sequence) for sequence in range(4)] == [len(IDS) + 1] * 4
    for expected, first, after in zip(alone, first_rows, next_rows, strict=True):
        assert np.allclose(expected, np.concatenate([first, after]), atol=1e-3)
    assert not np.allclose(alone[0], alone[2], atol=0.1)
    assert not np.allclose(alone[1], alone[3], atol=0.1)


def test_a_promise_of_equal_bits_holds_with_adapters_too(artifact: Path, adapters: dict[str, Path]) -> None:
    options = RuntimeOptions(128, 3, 1, batch_invariant=True, adapters=adapters)
    opened = open_runtime("gguf", artifact, options)
    asked = [(0, "every"), (1, None), (2, "some")]
    try:
        if not opened.info.batch_invariant:
            pytest.skip("this machine's kernels give no such promise")
        alone = []
        for sequence, adapter in asked:
            opened.step([Feed(sequence, IDS, "none", adapter)])
            alone.append(opened.step([Feed(sequence, [7], "last", adapter)])[0].copy())
            opened.keep(sequence, 0)
        opened.step([Feed(sequence, IDS, "none", adapter) for sequence, adapter in asked])
        together = [row.copy() for row in opened.step([Feed(s, [7], "last", adapter) for s, adapter in asked])]
    finally:
        opened.close()
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_what_a_sequence_holds_is_never_gone_on_with_by_another_adapter(runtime: Runtime) -> None:
    runtime.step([Feed(0, IDS, "none", "every")])
    runtime.copy(0, 1)
    for sequence in (0, 1):
        for other in (None, "some"):
            with pytest.raises(UsageError, match="begun with the adapter 'every'"):
                runtime.step([Feed(sequence, [7], "last", other)])
    assert runtime.held(0) == len(IDS)
    runtime.keep(0, 0)
    runtime.step([Feed(0, [7], "last", "some")])


def test_an_adapter_that_is_not_loaded_is_told(runtime: Runtime) -> None:
    with pytest.raises(UsageError, match="no adapter 'other'"):
        runtime.step([Feed(0, IDS, "last", "other")])


def test_adapters_on_experts_are_stacked(tmp_path: Path) -> None:
    checkpoint = random_deepseek(tmp_path / "base", seed=3)
    folder = random_adapter(tmp_path / "adapter", checkpoint, modules=("gate_proj", "down_proj", "o_proj"))
    convert_adapter(folder, read_json(checkpoint / "config.json"), tmp_path / "adapter.gguf")
    plain = gguf_logits(checkpoint, IDS, "F32")
    expected = gguf_logits(merged(checkpoint, folder, tmp_path / "merged"), IDS, "F32")
    artifact = checkpoint.with_suffix(".F32.gguf")
    opened = open_runtime("gguf", artifact, RuntimeOptions(64, 1, 1, adapters={"x": tmp_path / "adapter.gguf"}))
    try:
        found = opened.step([Feed(0, IDS, "all", "x")])[0].copy()
    finally:
        opened.close()
    assert mean_kld(expected, plain) >= 1e-2
    assert same_top(expected, found) >= 0.95  # rounding moves a token that is torn between two experts
    assert np.median(np.abs(expected - found)) < 1e-2


def test_experts_of_different_ranks_are_stacked_with_each_ones_scale(tmp_path: Path) -> None:
    """Three of the experts get half the rank in the one file, and zeros for the other half in the other."""
    config = read_json(random_deepseek(tmp_path / "base", seed=3) / "config.json")
    folder = random_adapter(tmp_path / "whole", tmp_path / "base", modules=("down_proj",))
    weights, settings = load_file(folder / WEIGHTS), read_json(folder / SETTINGS)
    found = {}
    for case in ("cut", "filled"):
        changed = dict(weights)
        for name in [n for n in weights if ".experts." in n and n.split(".experts.")[1][0] in "135"]:
            kept = slice(None, RANK // 2)
            if ".lora_A." in name:
                changed[name] = weights[name][kept] if case == "cut" else weights[name].copy()
            else:
                # alpha is divided by the rank: twice as much of half as many is the same.
                changed[name] = np.ascontiguousarray(weights[name][:, kept]) if case == "cut" else weights[name] * 2
            if case == "filled":
                (changed[name].T if ".lora_A." not in name else changed[name])[RANK // 2 :] = 0
        (tmp_path / case).mkdir()
        save_file(changed, tmp_path / case / WEIGHTS)
        (tmp_path / case / SETTINGS).write_text(json.dumps(settings | {"rank_pattern": {"experts.1.down_proj": 2}}))
        convert_adapter(tmp_path / case, config, tmp_path / f"{case}.gguf")
        reader = gguf.GGUFReader(tmp_path / f"{case}.gguf")
        found[case] = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    assert found["cut"].keys() == found["filled"].keys()
    assert all(np.array_equal(values, found["filled"][name]) for name, values in found["cut"].items())


def test_an_adapter_on_a_tied_output_is_told(tmp_path: Path) -> None:
    untied = random_llama(tmp_path / "untied", layers=1, hidden=64, ffn=64)
    folder = random_adapter(tmp_path / "adapter", untied, modules=("lm_head",))
    config = read_json(untied / "config.json") | {"tie_word_embeddings": True}
    with pytest.raises(UsageError, match="lm_head, which its base ties to the embedding"):
        convert_adapter(folder, config, tmp_path / "adapter.gguf")


@pytest.mark.parametrize("quantization", [{"quant_method": "mxfp4"}, None])
def test_an_adapter_on_experts_in_one_tensor_is_told(quantization: dict[str, str] | None, tmp_path: Path) -> None:
    base = random_gpt_oss(tmp_path / "base", quantization_config=quantization)
    name = "base_model.model.model.layers.0.mlp.experts.down_proj.lora_{}.weight"
    folder = random_adapter(tmp_path / "adapter", base, modules=())
    save_file({name.format(part): np.ones((4, 4), np.float32) for part in "AB"}, folder / WEIGHTS)
    with pytest.raises(UsageError, match="all experts of a layer in one tensor"):
        convert_adapter(folder, read_json(base / "config.json"), tmp_path / "adapter.gguf")


@pytest.mark.parametrize("named", [{}, "LlamaForCausalLM", []])
def test_a_base_without_a_class_is_told(named: object, base: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    config = read_json(base / "config.json") | {"architectures": named}
    with pytest.raises(BadInput, match="names no class"):
        convert_adapter(folders["some"], config, tmp_path / "adapter.gguf")


def test_loading_a_model_reads_no_family() -> None:
    code = "import sys, edgellm.engines.gguf.opening; sys.exit(any('families' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_deepseeks_attention_takes_no_adapter_but_on_its_output(tmp_path: Path) -> None:
    checkpoint = random_deepseek(tmp_path / "base")
    for module in ("q_b_proj", "kv_b_proj", "lm_head"):
        folder = random_adapter(tmp_path / module, checkpoint, modules=(module,))
        with pytest.raises(UsageError, match=rf"{module}\.weight, which llama\.cpp computes without adapters"):
            convert_adapter(folder, read_json(checkpoint / "config.json"), tmp_path / "adapter.gguf")


Change = Callable[[dict[str, np.ndarray], dict[str, Any]], None]


def of_settings(**changes: Any) -> Change:
    return lambda weights, settings: settings.update(changes)


def renamed(old: str, new: str) -> Change:
    def change(weights: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
        weights[new] = weights.pop(old)

    return change


def narrower(weights: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
    weights[f"{Q_PROJ}.lora_A.weight"] = np.ascontiguousarray(weights[f"{Q_PROJ}.lora_A.weight"][:, :64])


def half(weights: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
    del weights[f"{Q_PROJ}.lora_B.weight"]


def nan(weights: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
    weights[f"{Q_PROJ}.lora_B.weight"][3, 2] = np.nan


MALFORMED: dict[str, tuple[Change, str]] = {
    "dora": (of_settings(use_dora=True), "use_dora"),
    "bias": (of_settings(bias="lora_only"), "bias"),
    "whole modules": (of_settings(modules_to_save=["lm_head"]), "modules_to_save"),
    "other method": (of_settings(peft_type="IA3"), "peft_type"),
    "activated": (of_settings(alora_invocation_tokens=[1, 2]), "alora_invocation_tokens"),
    "arrow": (of_settings(arrow_config={"top_k": 2}), "arrow_config"),
    "several alphas": (of_settings(alpha_pattern={"q_proj": 8}), "alpha_pattern"),
    "changed base": (of_settings(init_lora_weights="pissa"), "init_lora_weights"),
    "stabilised with several ranks": (of_settings(use_rslora=True, rank_pattern={"q_proj": 8}), "use_rslora"),
    "no alpha": (of_settings(lora_alpha=0), "lora_alpha"),
    "no rank": (of_settings(r=None), '"r"'),
    "narrower base": (narrower, "trained on another"),
    "one matrix": (half, "one of the two"),
    "not a number": (nan, r"nan at \[3, 2\]"),
    "unknown module": (renamed(f"{Q_PROJ}.lora_A.weight", f"{Q_PROJ}.lora_magnitude_vector"), "plain LoRA"),
    "module of another base": (
        lambda weights, settings: [
            renamed(f"{Q_PROJ}.lora_{x}.weight", f"{Q_PROJ}_2.lora_{x}.weight")(weights, settings) for x in "AB"
        ],
        "no matrix",
    ),
    "empty": (lambda weights, settings: weights.clear(), "no weights"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_adapter_gets_one_sentence(case: str, base: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    change, said = MALFORMED[case]
    weights, settings = load_file(folders["some"] / WEIGHTS), read_json(folders["some"] / SETTINGS)
    change(weights, settings)
    save_file(weights, tmp_path / WEIGHTS)
    (tmp_path / SETTINGS).write_text(json.dumps(settings))
    with pytest.raises(EdgellmError, match=said) as found:
        convert_adapter(tmp_path, read_json(base / "config.json"), tmp_path / "adapter.gguf")
    assert "\n" not in str(found.value)
    assert not (tmp_path / "adapter.gguf").exists()


def test_an_adapter_cut_short_or_without_weights_is_told(base: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / SETTINGS).write_bytes((folders["some"] / SETTINGS).read_bytes())
    config = read_json(base / "config.json")
    with pytest.raises(BadInput, match=f"holds no {WEIGHTS}"):
        convert_adapter(tmp_path, config, tmp_path / "adapter.gguf")
    (tmp_path / WEIGHTS).write_bytes((folders["some"] / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(BadInput, match=r"cut short|goes on|wrong"):
        convert_adapter(tmp_path, config, tmp_path / "adapter.gguf")


def written(
    path: Path, architecture: str = "llama", kind: str = "adapter", alpha: Any = 8.0, *,
    weight: str = "blk.0.attn_q.weight", invocation: list[int] | None = None, **shapes: Any,
) -> Path:  # fmt: skip
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string("general.type", kind)
    writer.add_string("adapter.type", "lora")
    (writer.add_float32 if isinstance(alpha, float) else writer.add_string)("adapter.lora.alpha", alpha)
    for part, shape in ({"lora_a": (4, 128), "lora_b": (128, 4)} | shapes).items():
        if shape:
            writer.add_tensor(f"{weight}.{part}", np.zeros(shape, np.float32))
    if invocation:
        writer.add_array("adapter.alora.invocation_tokens", invocation)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


FOREIGN = {
    "other architecture": ({"architecture": "qwen3"}, "architecture 'qwen3'"),
    "a model": ({"kind": "model"}, "no LoRA adapter"),
    "alpha in words": ({"alpha": "sixteen"}, "sixteen"),
    "no alpha": ({"alpha": 0.0}, "alpha"),
    "one matrix": ({"lora_b": None}, "alone"),
    "wider base": ({"lora_a": (4, 256)}, "another base"),
    "two ranks": ({"lora_b": (128, 8)}, "another base"),
    "no weights": ({"lora_a": None, "lora_b": None}, "no weights"),
    "activated": ({"invocation": [5, 6]}, "activated LoRA"),
    "the embedding": ({"weight": "token_embd.weight", "lora_a": (8192, 4)}, "adapts the embedding"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_gguf_adapter_that_does_not_fit_is_told(case: str, artifact: Path, tmp_path: Path) -> None:
    changes, said = FOREIGN[case]
    path = written(tmp_path / "adapter.gguf", **changes)
    with pytest.raises(EdgellmError, match=said):
        open_runtime("gguf", artifact, RuntimeOptions(64, 1, 1, adapters={"x": path}))


def named_tensor(name: str, *shape: int) -> TensorInfo:
    return TensorInfo(name, "F32", shape, 4 * int(np.prod(shape)), 0)


@pytest.mark.parametrize(
    ("weights", "adapted", "said"),
    [
        ([named_tensor("output.weight", 32, 16)], "output.weight", "which llama.cpp computes without adapters"),
        ([named_tensor("token_embd.weight", 32, 16)], "output.weight", "shares with the embedding"),
    ],
)
def test_a_gguf_adapter_on_what_llama_cpp_would_leave_alone_is_refused(
    weights: list[TensorInfo], adapted: str, said: str
) -> None:
    parts = (named_tensor(f"{adapted}.lora_a", 4, 16), named_tensor(f"{adapted}.lora_b", 32, 4))
    own = {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 8.0}
    architecture = {"general.architecture": "deepseek2"}
    with pytest.raises(UsageError, match=said):
        check_adapter(
            Header(Path("a.gguf"), own | architecture, parts, ()), Header(Path("b"), architecture, tuple(weights), ())
        )


def test_onnx_takes_no_adapters(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes no LoRA adapters"):
        open_runtime("onnx", tmp_path, RuntimeOptions(adapters={"x": tmp_path / "adapter.gguf"}))
