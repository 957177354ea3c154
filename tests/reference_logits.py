"""Logits of the same checkpoint on the same ids: by transformers in float32, and by a GGUF that we converted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgellm.engines import open_runtime
from edgellm.engines.gguf.convert import convert
from edgellm.engines.protocol import Feed, Logits, RuntimeOptions

Weights = dict[str, np.ndarray]
Fault = Callable[[Weights, dict[str, Any]], None]

# What a right conversion keeps, and what a fault must move.
MEAN_KLD_LIMIT = 1e-4
SAME_TOP_LIMIT = 0.99
FAULT_KLD_LIMIT = 1e-2


def transformers_logits(checkpoint: Path, ids: Sequence[int], **settings: Any) -> Logits:
    """(positions, vocabulary) in float32, attention computed plainly; `settings` go to from_pretrained."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="eager", local_files_only=True, **settings
    ).eval()
    with torch.no_grad():
        return np.asarray(model(torch.tensor([list(ids)])).logits[0], np.float32)


def gguf_logits(checkpoint: Path, ids: Sequence[int], type_name: str = "F16") -> Logits:
    """(positions, vocabulary) of the checkpoint converted into a file beside its folder."""
    artifact = checkpoint.with_suffix(f".{type_name}.gguf")
    convert(checkpoint, artifact, type_name)
    return artifact_logits("gguf", artifact, ids)


def artifact_logits(engine: str, artifact: Path, ids: Sequence[int]) -> Logits:
    context_tokens = max(64, -(-len(ids) // 64) * 64)
    runtime = open_runtime(engine, artifact, RuntimeOptions(context_tokens=context_tokens, threads=1))
    try:
        return runtime.step([Feed(0, list(ids), "all")])[0].copy()
    finally:
        runtime.close()


def mean_kld(reference: Logits, found: Logits) -> float:
    """Mean over positions of KL(reference || found), in nats."""
    assert reference.shape == found.shape
    p, q = _log_softmax(reference), _log_softmax(found)
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


def same_top(reference: Logits, found: Logits) -> float:
    """Share of positions whose likeliest token is the same."""
    return float((reference.argmax(axis=1) == found.argmax(axis=1)).mean())


def with_fault(checkpoint: Path, folder: Path, fault: Fault | None) -> Path:
    """A copy of a checkpoint in one shard, with the fault planted in its weights or configuration if there is one.

    A fault in the checkpoint that is converted stands for the same fault in a converter or an engine, while the
    reference keeps reading the sound one.
    """
    weights = load_file(checkpoint / "model.safetensors")
    config = json.loads((checkpoint / "config.json").read_text())
    if fault:
        fault(weights, config)
    folder.mkdir()
    for file in checkpoint.iterdir():
        if file.name not in ("model.safetensors", "config.json"):
            shutil.copyfile(file, folder / file.name)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _log_softmax(logits: Logits) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
