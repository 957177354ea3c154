"""A build that passes through every step and takes seconds: a random model with a vocabulary of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sentencepiece

from edgellm.build.order import Order
from edgellm.build.pipeline import Built, build
from edgellm.stages import Progress
from edgellm.store.catalogue import TEXTS, read_documents
from edgellm.store.work import WorkFolder
from tiny_checkpoints import TOKENIZER_FILES, random_llama

STEPS = ["convert", "calibrate", "quantize"]
VOCAB = 1024


def quick_checkpoint(folder: Path, **shape: int) -> Path:
    """The time goes into the logits of the verification text, so the vocabulary is small; it knows every byte."""
    random_llama(folder, vocab=VOCAB, **{"hidden": 32, "ffn": 64, "heads": 1, "kv_heads": 1, **shape})
    for name in TOKENIZER_FILES:
        (folder / name).unlink()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for d in read_documents(TEXTS / "calibration") for line in d.split("\n") if line),
        model_prefix=str(folder / "tokenizer"), vocab_size=VOCAB, model_type="unigram", byte_fallback=True,
        character_coverage=0.98, hard_vocab_limit=False, normalization_rule_name="identity", minloglevel=2,
        remove_extra_whitespaces=False, add_dummy_prefix=False, num_threads=1,
    )  # fmt: skip
    (folder / "tokenizer.vocab").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    return folder


@dataclass(frozen=True)
class QuickBuild:
    """One order, given to the command line or, without its time to start, to the function behind it."""

    checkpoint: Path
    text: Path
    type: str = "Q8_0"

    def words(self, out: Path) -> list[str]:
        return [
            "quantize", str(self.checkpoint), "--type", self.type, "--calibration", str(self.text), "--gate", "none",
            "--allow-fallback", "--out", str(out), "--json",
        ]  # fmt: skip

    def run(self, work: Path, out: Path, progress: Progress | None = None) -> Built:
        order = Order(
            str(self.checkpoint), out, type=self.type, calibration=str(self.text), gated=False, allow_fallback=True
        )
        with one_core():
            return build(order, WorkFolder(work), progress)


def make_quick_build(folder: Path, **shape: int) -> QuickBuild:
    text = folder / "calibration.txt"
    text.parent.mkdir(parents=True, exist_ok=True)
    text.write_text("".join(read_documents(TEXTS / "calibration")[0])[:2000], encoding="utf-8")
    return QuickBuild(quick_checkpoint(folder / "checkpoint", **shape), text)


def start(words: list[str], work: Path) -> subprocess.Popen[str]:
    with one_core():
        return subprocess.Popen(
            [sys.executable, "-m", "edgellm.cli.main", *words], text=True, env=os.environ | {"EDGELLM_WORK": str(work)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip


@contextmanager
def one_core() -> Iterator[None]:
    """Threads that wait for each other spin: with so small a model, two on a busy machine are ten times slower."""
    if not hasattr(os, "sched_setaffinity"):  # macOS
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def whole_steps(work: Path) -> list[str]:
    """The stages whose steps stand in a work folder that holds one step a stage, in their order."""
    return [stage for stage in STEPS if any(work.glob(f"{stage}-*/step.json"))]
