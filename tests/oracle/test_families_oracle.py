"""Every family's file against llama.cpp's own script, byte for byte, and where that script gives up."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from byte_level_bpe import byte_level_bpe
from edgellm.build.opening import open_target
from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.header import read_header
from edgellm.engines.protocol import RuntimeOptions
from edgellm.inference.chat import Message, SamplingOptions
from edgellm.inference.local_chat import LocalChat
from edgellm.inference.scheduler import Scheduler
from edgellm.language.tokenizer import load_tokenizer
from reference_conversion import differences, run_reference
from reference_logits import artifact_logits, mean_kld, transformers_logits
from tiny_checkpoints import TOKENIZER_FILES
from tiny_decoders import CLASSES, random_decoder

pytestmark = pytest.mark.oracle

# Classes whose models have byte-level BPE; the others keep tiny-ja's tokenizer.model.
BPE = ("Qwen2ForCausalLM", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM")
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}  # fmt: skip
VARIANTS = {name: (name, {}) for name in CLASSES} | {
    "tied Qwen2 with YaRN": ("Qwen2ForCausalLM", {"tie_word_embeddings": True, "rope_scaling": YARN}),
    "Qwen3MoE with experts 160 wide, tied": (
        "Qwen3MoeForCausalLM",
        {"moe_intermediate_size": 160, "tie_word_embeddings": True},
    ),
    "Mistral with Llama 3's scaling": ("MistralForCausalLM", {"rope_scaling": LLAMA3, "tie_word_embeddings": True}),
}


def checkpoint_of(variant: str, folder: Path) -> Path:
    name, changes = VARIANTS[variant]
    rows = {"vocab_size": 512} if name in BPE else {}
    checkpoint = random_decoder(folder, name, num_hidden_layers=1, **rows, **changes)
    if name in BPE:
        for file in TOKENIZER_FILES:
            (checkpoint / file).unlink()
        byte_level_bpe(checkpoint, "qwen2")
    return checkpoint


@pytest.fixture(scope="module")
def pairs(oracle_convert: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Variant → (the reference's file, ours), both in F16."""
    folder = tmp_path_factory.mktemp("families")
    found, jobs = {}, []
    for i, variant in enumerate(VARIANTS):
        checkpoint = checkpoint_of(variant, folder / f"c{i}")
        found[variant] = (folder / f"{i}-reference.gguf", folder / f"{i}-ours.gguf")
        convert(checkpoint, found[variant][1], "F16")
        jobs.append((checkpoint, "F16", found[variant][0]))
    run_reference(oracle_convert, jobs, pre="qwen2")
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_tensors_and_metadata_equal_those_of_llama_cpps_own_script(
    variant: str, pairs: dict[str, tuple[Path, Path]]
) -> None:
    reference, ours = pairs[variant]
    assert len(read_header(ours).tensors) > 10
    assert differences(ours, reference) == []


def test_llm_jps_mixture_of_experts_converts_runs_and_chats_where_llama_cpps_own_script_gives_up(
    oracle_convert: Path, tmp_path: Path
) -> None:
    """LLM-jp-4 32B-A3B in small: Qwen3MoE, experts of no round width, a Unigram vocabulary that the script never seeks.

    With tokenizer.model and without it, from tokenizer.json alone, the file is the same.
    """
    checkpoint = random_decoder(tmp_path / "llm-jp", "Qwen3MoeForCausalLM", seed=8)
    with pytest.raises(AssertionError, match="BPE pre-tokenizer was not recognized"):
        run_reference(oracle_convert, [(checkpoint, "F16", tmp_path / "reference.gguf")])
    assert not (tmp_path / "reference.gguf").exists()

    convert(checkpoint, tmp_path / "ours.gguf", "F16")
    (checkpoint / "tokenizer.model").unlink()
    convert(checkpoint, tmp_path / "from-json.gguf", "F16")
    assert differences(tmp_path / "from-json.gguf", tmp_path / "ours.gguf") == []
    ids = load_tokenizer(checkpoint).encode("窓口で受け取った番号札は、呼ばれるまで手元に置いてください。\n")
    expected = transformers_logits(checkpoint, ids)
    assert mean_kld(expected, artifact_logits("gguf", tmp_path / "ours.gguf", ids)) < 1e-4

    answer = asked(checkpoint)
    assert answer["usage"]["completion_tokens"] == 8
    assert answer["text"] or answer["reasoning"]


def test_a_model_with_byte_level_bpe_chats(tmp_path: Path) -> None:
    target = open_target(str(checkpoint_of("Qwen2ForCausalLM", tmp_path / "qwen2")))
    runtime = target.open_runtime(RuntimeOptions(context_tokens=128, threads=1))
    with closing(LocalChat(Scheduler(runtime), target.tokenizer(), target.chat_template())) as chat:
        *_, last = chat.stream([Message("user", "海の色は？")], SamplingOptions(temperature=0.0), 8)
    assert last.usage is not None
    assert 0 < last.usage.completion_tokens <= 8


def asked(checkpoint: Path) -> dict[str, Any]:
    """What `edgellm run` prints for one question to a checkpoint folder, which it converts first."""
    options = ["--json", "--max-tokens", "8", "--temperature", "0", "--threads", "1"]
    line = [sys.executable, "-m", "edgellm.cli.main", "run", str(checkpoint), "海の色は？", *options]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
