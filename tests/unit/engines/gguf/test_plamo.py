"""PLaMo 2 and 3 in llama.cpp: the same logits as the definition, and what the engine gets wrong by itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import plamo_reference
from edgellm import families
from edgellm.build.pipeline import Base, make_artifact, make_base
from edgellm.engines import open_runtime
from edgellm.engines.gguf import quantize as quantizer
from edgellm.engines.gguf.child import Child
from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.quantize_plan import by_pattern
from edgellm.engines.gguf.tokenizer import tokenizer_of
from edgellm.engines.gguf.types import FILE_TYPES, TENSOR_TYPES
from edgellm.engines.gguf.vocabulary_only import engine_ids
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import BadInput
from edgellm.families import plamo2
from edgellm.families.family import Config, Value
from edgellm.inference.chat import SamplingOptions
from edgellm.inference.generation import Request
from edgellm.inference.scheduler import Scheduler
from edgellm.inference.target import resolve
from edgellm.language.tokenizer import load_tokenizer
from edgellm.store import digest
from edgellm.store.work import WorkFolder
from japanese_samples import SENTENCES, TRAPS
from reference_logits import (
    FAULT_KLD_LIMIT,
    MEAN_KLD_LIMIT,
    SAME_TOP_LIMIT,
    Fault,
    Weights,
    gguf_logits,
    mean_kld,
    same_top,
    with_fault,
)
from tiny_plamo import random_plamo2, random_plamo3

IDS = np.random.default_rng(1).integers(300, 1900, 256).tolist()
LAYER = "model.layers.layers.{}"
GREEDY = SamplingOptions(temperature=0)
SIXTEEN_BITS = {"F16", "BF16"}


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_plamo2(tmp_path_factory.mktemp("plamo2") / "hybrid", seed=1)


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_plamo3(tmp_path_factory.mktemp("plamo3") / "windowed")


@pytest.fixture(scope="module")
def expected(hybrid: Path, windowed: Path) -> dict[str, np.ndarray]:
    return {"plamo2": plamo_reference.logits(hybrid, IDS), "plamo3": plamo_reference.logits(windowed, IDS)}


@pytest.fixture(scope="module")
def hybrid_gguf(hybrid: Path) -> Path:
    artifact = hybrid.with_suffix(".gguf")
    convert(hybrid, artifact, "F16")
    return artifact


@pytest.mark.parametrize("kind", ["plamo2", "plamo3"])
def test_f16_logits_are_those_of_the_definition(
    kind: str, hybrid: Path, windowed: Path, expected: dict[str, np.ndarray]
) -> None:
    found = gguf_logits(hybrid if kind == "plamo2" else windowed, IDS)
    assert mean_kld(expected[kind], found) <= MEAN_KLD_LIMIT
    assert same_top(expected[kind], found) >= SAME_TOP_LIMIT


def shifted(name: str, by: float) -> Fault:
    def fault(weights: Weights, _: dict[str, Any]) -> None:
        for found in [n for n in weights if n.endswith(name)]:
            weights[found] += np.float32(by)

    return fault


def rearranged(name: str, arrange: Callable[[np.ndarray], np.ndarray]) -> Fault:
    def fault(weights: Weights, _: dict[str, Any]) -> None:
        for found in [n for n in weights if n.endswith(name)]:
            weights[found] = np.ascontiguousarray(arrange(weights[found]))

    return fault


def configured(**values: Any) -> Fault:
    return lambda _, config: config.update(values)


def swapped_halves(rows: np.ndarray) -> np.ndarray:
    """The rows of z and x of each of the 4 heads changed round."""
    return rows.reshape(4, 2, 64, -1)[:, ::-1].reshape(rows.shape)


FAULTS2: dict[str, Fault] = {
    "no offset of the first norm": shifted("pre_mixer_norm.weight", -1.0),
    "no offset of the norm after the mixer": shifted("post_mixer_norm.weight", -1 / 5),
    "no offset of the norm after the MLP": shifted("post_mlp_norm.weight", -1 / 5**1.5),
    "an offset of the query's norm": shifted("q_weight", 1.0),
    "the other sign of A_log": rearranged("A_log", np.negative),
    "all but no rope": configured(rope_theta=1e30),
    "z and x changed round": rearranged("in_proj.weight", swapped_halves),
    "the convolution backwards": rearranged("conv1d.weight", lambda taps: taps[..., ::-1]),
    "B and C changed round": rearranged(
        "bcdt_proj.weight", lambda rows: np.concatenate([rows[16:32], rows[:16], rows[32:]])
    ),
    "up before gate": rearranged("gate_up_proj.weight", lambda rows: np.roll(rows, len(rows) // 2, axis=0)),
}
FAULTS3: dict[str, Fault] = {
    "no offset of the query's norm": shifted("q_norm.weight", -1.0),
    "no offset of the last norm": shifted("model.norm.weight", -1.0),
    "every fourth layer full": configured(sliding_window_pattern=4),
    "no layer full": configured(sliding_window_pattern=16),
    "half the window": configured(window_size=12),
    "the global rope everywhere": configured(rope_local_theta=1_000_000),
    "no rope to speak of in full layers": configured(rope_theta=1e30),
}


@pytest.mark.parametrize("name", FAULTS2)
def test_a_fault_planted_in_plamo2_shows(
    name: str, hybrid: Path, expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    found = gguf_logits(with_fault(hybrid, tmp_path / "faulty", FAULTS2[name]), IDS)
    assert mean_kld(expected["plamo2"], found) >= FAULT_KLD_LIMIT


@pytest.mark.parametrize("name", FAULTS3)
def test_a_fault_planted_in_plamo3_shows(
    name: str, windowed: Path, expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    found = gguf_logits(with_fault(windowed, tmp_path / "faulty", FAULTS3[name]), IDS)
    assert mean_kld(expected["plamo3"], found) >= FAULT_KLD_LIMIT


def test_a_gguf_gives_the_tokenizer_back_and_the_engine_agrees(hybrid: Path, hybrid_gguf: Path) -> None:
    exact, rebuilt = load_tokenizer(hybrid), tokenizer_of(read_header(hybrid_gguf))
    texts = [*SENTENCES, *TRAPS.values(), "[PAD2000]", "<|plamo:op|>"]
    ids = exact.encode_lines(texts)
    assert rebuilt.encode_lines(texts) == ids
    assert rebuilt.special_ids == exact.special_ids
    assert (rebuilt.bos_id, rebuilt.eos_id, rebuilt.unk_id) == (exact.bos_id, exact.eos_id, exact.unk_id)
    assert (rebuilt.stop_ids, rebuilt.specials.adds_bos) == (exact.stop_ids, False)
    spelled = texts.index("<|plamo:op|>")
    engine = engine_ids(hybrid_gguf, texts)
    assert engine.pop(spelled) == [4] != ids.pop(spelled)  # the engine takes a user's text for a special token
    assert engine == ids


def answers(artifact: Path, prompts: list[list[int]], sequences: int, tokens: int) -> list[list[int]]:
    """Greedy answers to the prompts, as many at once as there are sequences."""
    options = RuntimeOptions(context_tokens=256, sequences=sequences, threads=1)
    with closing(open_runtime("gguf", artifact, options)) as runtime, Scheduler(runtime) as scheduler:
        return [list(g) for g in [scheduler.submit(Request(p, GREEDY, tokens)) for p in prompts]]


def test_several_requests_at_once_get_the_answers_they_get_alone(hybrid_gguf: Path) -> None:
    prompts = [IDS[:40], IDS[40:43], IDS[50:51], IDS[60:130], IDS[7:20]]  # more than sequences: some follow others
    assert answers(hybrid_gguf, prompts, 3, 12) == answers(hybrid_gguf, prompts, 1, 12)


@pytest.fixture(scope="module")
def base(hybrid: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Base, WorkFolder]:
    work = WorkFolder(tmp_path_factory.mktemp("work"))
    return make_base(resolve(str(hybrid)), work), work


@pytest.mark.parametrize("type_name", ["Q8_0", "Q4_K_M", "Q2_K"])
def test_ssm_out_stays_16_bit_and_ssm_conv1d_f32_in_a_quantized_file(
    type_name: str, base: tuple[Base, WorkFolder]
) -> None:
    made = make_artifact(base[0], "gguf", type_name, {}, "none", base[1])
    types = {t.name.split(".", 2)[-1]: t.type for t in read_header(made.artifact).tensors}
    assert types["ssm_out.weight"] in SIXTEEN_BITS
    assert types["ssm_conv1d.weight"] == "F32"
    assert types["ssm_in.weight"] not in SIXTEEN_BITS | {"F32"}


def test_ssm_out_stays_16_bit_in_every_type_that_is_offered(base: tuple[Base, WorkFolder], tmp_path: Path) -> None:
    rules = by_pattern(families.default_tensor_types("plamo2"))
    offered = [t for t in FILE_TYPES.values() if TENSOR_TYPES[t.default].is_quantized]
    assert len(offered) > 25
    with Child(quantizer.CHILD, "planning") as child:
        for file_type in offered:
            order = quantizer.Order(base[0].gguf, file_type, rules, None, 1)
            plan = quantizer.plan_types(child, order, tmp_path / "none")
            assert {t.target for name, t in plan.items() if "ssm_out" in name} == {"F16"}, file_type.name


def test_a_type_that_the_user_names_wins_over_the_familys(base: tuple[Base, WorkFolder]) -> None:
    made = make_artifact(base[0], "gguf", "Q8_0", {r"^blk\.0\.ssm_out": "Q8_0"}, "none", base[1])
    found = {t.name: t.type for t in read_header(made.artifact).tensors if "ssm_out" in t.name}
    assert found == {"blk.0.ssm_out.weight": "Q8_0", "blk.2.ssm_out.weight": "F16"}


def test_after_a_newline_no_type_falls_into_a_loop_of_reserved_tokens(
    base: tuple[Base, WorkFolder], hybrid: Path
) -> None:
    tokenizer = load_tokenizer(hybrid)
    prompts = [tokenizer.encode(text) for text in ("一行目\n", "質問です。\n\n", "\n")]
    for type_name in ("F16", "Q4_K_M"):
        artifact = make_artifact(base[0], "gguf", type_name, {}, "none", base[1]).artifact
        for answer in answers(artifact, prompts, 1, 48):
            reserved = [t for t in answer if t >= tokenizer.vocab_tokens or tokenizer.is_special(t)]
            assert len(answer) == 48
            assert len(reserved) < 12  # of the 2,048 rows 92 stand for such tokens, so chance alone gives about 2


def stock_metadata(config: Config) -> dict[str, Value]:
    """As llama.cpp's own script writes it."""
    ours = plamo2.metadata(config)
    kv_heads = ours["attention.head_count_kv"]
    assert isinstance(kv_heads, list)
    return ours | {"attention.head_count": [config["num_attention_heads"] if k else 0 for k in kv_heads]}


@pytest.fixture(scope="module")
def stock(hybrid: Path) -> Path:
    """A file as other people have it."""
    artifact = hybrid.with_suffix(".stock.gguf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(families.BY_CLASS, "Plamo2ForCausalLM", replace(plamo2.FAMILY, metadata=stock_metadata))
        convert(hybrid, artifact, "F16")
    return artifact


DECODE = """
import sys, llama_cpp
model = llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), llama_cpp.llama_model_default_params())
settings = llama_cpp.llama_context_default_params()
settings.n_ctx, settings.n_threads, settings.n_threads_batch = 256, 1, 1
context = llama_cpp.llama_init_from_model(model, settings)
tokens = (llama_cpp.llama_token * 2)(300, 301)
print("decoding", flush=True)
print(llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, 2)), flush=True)
"""


def decoding(artifact: Path) -> subprocess.Popen[str]:
    """llama.cpp alone on two tokens, in a process that has come as far as the decode."""
    arguments = [sys.executable, "-c", DECODE, str(artifact)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "decoding\n"
    return process


def test_the_stock_file_never_comes_back_from_a_decode_and_its_cured_copy_does(
    stock: Path, base: tuple[Base, WorkFolder]
) -> None:
    before = digest.of_file(stock)
    hanging = decoding(stock)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            hanging.wait(timeout=2)
    finally:
        hanging.kill()
        hanging.communicate()
    cured = make_base(resolve(str(stock)), base[1])
    returning = decoding(cured.gguf)
    assert returning.wait(timeout=60) == 0
    assert returning.stdout is not None
    assert returning.stdout.read() == "0\n"
    assert digest.of_file(stock) == before
    assert cured.steps[0].step.inputs == {"gguf": before}
    heads = read_header(cured.gguf).metadata["plamo2.attention.head_count"]
    assert heads.tolist() == [4, 4, 4, 4]


def test_a_stock_file_is_refused_with_the_way_out_where_it_would_be_run(stock: Path) -> None:
    with pytest.raises(BadInput, match="edgellm quantize"):
        open_runtime("gguf", stock, RuntimeOptions())


def test_rules_hold_for_a_stock_file_too(stock: Path, base: tuple[Base, WorkFolder]) -> None:
    cured = make_base(resolve(str(stock)), base[1])
    made = make_artifact(cured, "gguf", "Q4_K_M", {}, "none", base[1])
    assert {t.type for t in read_header(made.artifact).tensors if "ssm_out" in t.name} == {"F16"}
    assert answers(made.artifact, [IDS[:8]], 1, 4)


def test_a_plamo2_file_without_mamba_is_refused_before_llama_cpp_ends_the_process(
    hybrid_gguf: Path, tmp_path: Path
) -> None:
    artifact = tmp_path / "attention.gguf"
    artifact.write_bytes(hybrid_gguf.read_bytes())
    field = gguf.GGUFReader(artifact, "r+").get_field("plamo2.attention.head_count_kv")
    assert field is not None
    for part in field.data:
        field.parts[part][0] = 2
    with pytest.raises(BadInput, match="without any Mamba layer"):
        open_runtime("gguf", artifact, RuntimeOptions())
