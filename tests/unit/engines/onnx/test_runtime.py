from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgellm.engines.onnx.runtime import OnnxOptions, OnnxRuntime, open_runtime
from edgellm.engines.protocol import Feed, RuntimeOptions
from edgellm.errors import BadInput, EngineFailed, MissingExtra, UsageError

pytestmark = pytest.mark.onnx

PROMPTS = ([1, 500, 501, 8000], [1, 77], [1, *range(300, 340)])


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    return AutoModelForCausalLM.from_pretrained(checkpoint, torch_dtype=torch.float32).eval()


@pytest.fixture
def runtime(exported: Path) -> Iterator[OnnxRuntime]:
    opened = open_runtime(exported, RuntimeOptions(sequences=3, threads=1))
    yield opened
    opened.close()


def reference_logits(reference: Any, ids: list[int]) -> np.ndarray:
    import torch

    with torch.no_grad():
        return reference(torch.tensor([ids])).logits[0].double().numpy()


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def generate(runtime: OnnxRuntime, prompt: list[int], tokens: int, pick: Callable[[np.ndarray], int]) -> list[int]:
    runtime.keep(0, 0)
    ids, fed = list(prompt), 0
    for _ in range(tokens):
        [logits] = runtime.step([Feed(0, ids[fed:])])
        fed = len(ids)
        ids.append(pick(logits[-1]))
    return ids


def drawer(seed: int) -> Callable[[np.ndarray], int]:
    rng = np.random.default_rng(seed)
    return lambda logits: int(rng.choice(len(logits), p=np.exp(log_softmax(logits / 0.8))))


@pytest.mark.parametrize("prompt", PROMPTS, ids=len)
def test_greedy_generation_equals_transformers(runtime: OnnxRuntime, reference: Any, prompt: list[int]) -> None:
    import torch

    expected = reference.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        max_new_tokens=40, do_sample=False, eos_token_id=None, pad_token_id=4,
    )  # fmt: skip
    assert generate(runtime, prompt, 40, lambda logits: int(logits.argmax())) == expected[0].tolist()


def test_sampled_generation_equals_drawing_from_the_logits_of_transformers(
    runtime: OnnxRuntime, reference: Any
) -> None:
    draw, expected = drawer(7), list(PROMPTS[0])
    for _ in range(30):
        expected.append(draw(reference_logits(reference, expected)[-1]))
    assert generate(runtime, PROMPTS[0], 30, drawer(7)) == expected


def test_logits_of_interleaved_pieces_equal_transformers_on_the_whole(runtime: OnnxRuntime, reference: Any) -> None:
    rng = np.random.default_rng(3)
    texts = [[1, *rng.integers(14, 8192, 199).tolist()] for _ in range(3)]
    got: list[list[np.ndarray]] = [[], [], []]
    at = [0, 0, 0]
    while any(at[s] < len(texts[s]) for s in range(3)):
        lengths = [int(rng.integers(1, 40)) for _ in range(3)]
        feeds = [Feed(s, texts[s][at[s] : at[s] + lengths[s]], "all") for s in range(3) if at[s] < len(texts[s])]
        for feed, logits in zip(feeds, runtime.step(feeds), strict=True):
            got[feed.sequence].append(logits)
            at[feed.sequence] += len(feed.ids)
    ours = np.concatenate([np.concatenate(pieces) for pieces in got])
    theirs = np.concatenate([reference_logits(reference, text) for text in texts])
    p, q = log_softmax(theirs), log_softmax(ours)
    assert np.abs(ours - theirs).max() < 1e-3
    assert (np.exp(p) * (p - q)).sum(axis=-1).mean() <= 1e-6


def test_sequences_of_different_lengths_decoded_together_equal_transformers(
    runtime: OnnxRuntime, reference: Any
) -> None:
    texts = [list(prompt) for prompt in PROMPTS]
    runtime.step([Feed(s, text, "none") for s, text in enumerate(texts)])
    for token in (900, 901, 902):
        for text in texts:
            text.append(token)
        for text, logits in zip(texts, runtime.step([Feed(s, [token]) for s in range(3)]), strict=True):
            np.testing.assert_allclose(logits[0], reference_logits(reference, text)[-1], atol=1e-3)
    assert [runtime.held(s) for s in range(3)] == [len(text) for text in texts]


def test_a_copy_is_not_touched_by_what_its_source_does_later(runtime: OnnxRuntime) -> None:
    runtime.step([Feed(0, PROMPTS[2], "none")])
    runtime.copy(0, 1)
    runtime.step([Feed(0, [9, 9, 9], "none")])
    runtime.keep(0, 5)
    [alone, copied] = runtime.step([Feed(2, [*PROMPTS[2], 600]), Feed(1, [600])])
    assert runtime.held(1) == len(PROMPTS[2]) + 1
    np.testing.assert_allclose(copied, alone, atol=1e-4)


def test_logits_stay_the_callers_after_later_steps(runtime: OnnxRuntime) -> None:
    [first] = runtime.step([Feed(0, [1, 2, 3], "all")])
    before = first.copy()
    runtime.step([Feed(0, [4, 5, 6], "all")])
    runtime.close()
    np.testing.assert_array_equal(first, before)
    assert first.flags.writeable
    assert first.flags.owndata


def test_the_graph_file_may_be_named_instead_of_its_folder(exported: Path) -> None:
    opened = open_runtime(exported / "model.onnx", RuntimeOptions(threads=1))
    assert opened.step([]) == []
    assert opened.info.architecture == "llama"
    assert (opened.info.vocab_tokens, opened.info.context_tokens) == (8192, 1024)
    assert opened.info.build.startswith("onnxruntime ")


def test_weights_in_a_data_file_beside_the_graph_are_found(exported: Path, tmp_path: Path) -> None:
    import onnx

    shutil.copyfile(exported / "config.json", tmp_path / "config.json")
    model = onnx.load(exported / "model.onnx")
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="model.onnx_data")
    whole, apart = (open_runtime(folder, RuntimeOptions(threads=1)) for folder in (exported, tmp_path))
    for left, right in zip(whole.step([Feed(0, [1, 2])]), apart.step([Feed(0, [1, 2])]), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_graph_without_mask_and_positions_runs(make_graph: Callable[..., Path]) -> None:
    opened = open_runtime(make_graph(), RuntimeOptions(sequences=2, threads=1))
    opened.step([Feed(1, [3, 0], "all")])
    got = opened.step([Feed(0, [2]), Feed(1, [4])])  # not together: nothing masks the gap between 0 and 2
    np.testing.assert_array_equal(np.concatenate(got), np.eye(5, 8)[[2, 4]])
    assert [opened.held(0), opened.held(1)] == [1, 3]
    assert (opened.info.vocab_tokens, opened.info.context_tokens) == (8, 16)


def test_a_graph_for_one_row_runs_sequences_one_by_one(make_graph: Callable[..., Path]) -> None:
    def fix_rows(parts: dict[str, list]) -> None:
        for node in parts["inputs"]:
            node.type.tensor_type.shape.dim[0].dim_value = 1

    opened = open_runtime(make_graph(fix_rows), RuntimeOptions(sequences=2, threads=1))
    got = opened.step([Feed(0, [2]), Feed(1, [4])])
    np.testing.assert_array_equal(np.concatenate(got), np.eye(5, 8)[[2, 4]])


def test_a_step_that_fails_half_way_changes_no_sequence(make_graph: Callable[..., Path]) -> None:
    opened = open_runtime(make_graph(), RuntimeOptions(sequences=2, threads=1))
    with pytest.raises(EngineFailed, match="onnxruntime could not run 1 tokens after 0"):
        opened.step([Feed(0, [1, 2]), Feed(1, [7])])  # the graph's table has no row 7
    assert [opened.held(0), opened.held(1)] == [0, 0]


def test_a_graph_without_past_inputs_is_refused(make_graph: Callable[..., Path]) -> None:
    def without_past(parts: dict[str, list]) -> None:
        del parts["inputs"][1:], parts["outputs"][1:], parts["nodes"][1:]

    with pytest.raises(BadInput, match="has no past_key_values inputs"):
        open_runtime(make_graph(without_past), RuntimeOptions())


def test_a_graph_that_gives_no_present_is_refused(make_graph: Callable[..., Path]) -> None:
    with pytest.raises(BadInput, match=r"lacks present\.0\.value"):
        open_runtime(make_graph(lambda parts: parts["outputs"].pop()), RuntimeOptions())


def test_a_graph_with_an_unknown_input_is_refused(make_graph: Callable[..., Path]) -> None:
    def with_images(parts: dict[str, list]) -> None:
        from onnx import TensorProto, helper

        parts["inputs"].append(helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, [1, 3]))

    with pytest.raises(BadInput, match="pixel_values"):
        open_runtime(make_graph(with_images), RuntimeOptions())


def test_a_past_of_unknown_width_is_refused(make_graph: Callable[..., Path]) -> None:
    def loosen(parts: dict[str, list]) -> None:
        parts["inputs"][1].type.tensor_type.shape.dim[3].dim_param = "width"

    with pytest.raises(BadInput, match=r"past_key_values\.0\.key"):
        open_runtime(make_graph(loosen), RuntimeOptions())


def test_a_damaged_graph_is_refused(exported: Path, tmp_path: Path) -> None:
    shutil.copyfile(exported / "config.json", tmp_path / "config.json")
    (tmp_path / "model.onnx").write_bytes((exported / "model.onnx").read_bytes()[:100_000])
    with pytest.raises(BadInput, match="onnxruntime cannot load"):
        open_runtime(tmp_path, RuntimeOptions())


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (None, "no config.json beside it"),
        ("{", "cannot be read as JSON"),
        ("{}", "does not say its model_type"),
        ('{"model_type": "hand", "vocab_size": 8}', "does not give max_position_embeddings"),
    ],
)
def test_a_config_that_says_too_little_is_refused(
    make_graph: Callable[..., Path], config: str | None, reason: str
) -> None:
    folder = make_graph()
    (folder / "config.json").unlink()
    if config is not None:
        (folder / "config.json").write_text(config)
    with pytest.raises(BadInput, match=reason):
        open_runtime(folder, RuntimeOptions())


def test_a_folder_without_a_graph_is_refused(checkpoint: Path) -> None:
    with pytest.raises(BadInput, match="there is no ONNX graph"):
        open_runtime(checkpoint, RuntimeOptions())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (OnnxOptions(provider="NoSuchProvider"), "has no NoSuchProvider, only"),
        (OnnxOptions(context_tokens=17), "at most 16 tokens"),
        (OnnxOptions(context_tokens=-1), "cannot be negative"),
        (OnnxOptions(sequences=0), "at least 1"),
        (OnnxOptions(step_tokens=0), "at least 1"),
    ],
)
def test_options_that_cannot_be_met_are_refused(
    make_graph: Callable[..., Path], options: OnnxOptions, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        open_runtime(make_graph(), options)


def test_a_missing_onnxruntime_is_named_with_the_command_that_brings_it(
    make_graph: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"pip install 'edgellm\[onnx\]'"):
        open_runtime(make_graph(), RuntimeOptions())


def test_running_loads_neither_torch_nor_optimum_nor_onnx(exported: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from edgellm.engines.onnx import header, runtime;"
        "from edgellm.engines.protocol import Feed, RuntimeOptions;"
        f"folder = Path({str(exported)!r}); header.read_header(folder);"
        "runtime.open_runtime(folder, RuntimeOptions(threads=1)).step([Feed(0, [1, 2])]);"
        "print(sorted({'torch', 'optimum', 'onnx', 'transformers', 'llama_cpp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
