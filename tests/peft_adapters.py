"""PEFT folders with random LoRA matrices, and the checkpoint into which one is merged by hand."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from reference_logits import with_fault

RANK, ALPHA = 4, 16
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def random_adapter(
    folder: Path, checkpoint: Path, *, modules: Collection[str] = MODULES, seed: int = 0, scale: float = 0.3,
    **settings: object,
) -> Path:  # fmt: skip
    """An adapter on the named modules of a checkpoint; `settings` go into adapter_config.json."""
    rng = np.random.default_rng(seed)
    adapter = {}
    for name, weight in sorted(load_file(checkpoint / "model.safetensors").items()):
        module = name.removesuffix(".weight")
        if module == name or module.rpartition(".")[2] not in modules:
            continue
        rows, columns = weight.shape
        adapter[f"base_model.model.{module}.lora_A.weight"] = rng.standard_normal((RANK, columns)).astype(np.float32)
        b = rng.standard_normal((rows, RANK)) * scale / np.sqrt(columns * RANK)
        adapter[f"base_model.model.{module}.lora_B.weight"] = b.astype(np.float32)
    config = {
        "peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": sorted(modules), "bias": "none",
        "base_model_name_or_path": str(checkpoint), "task_type": "CAUSAL_LM", **settings,
    }  # fmt: skip
    folder.mkdir(parents=True)
    save_file(adapter, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def merged(checkpoint: Path, adapter: Path, folder: Path, scaling: float = ALPHA / RANK) -> Path:
    """The checkpoint with `scaling` × B·A added to each weight that the adapter adapts."""
    parts = load_file(adapter / "adapter_model.safetensors")

    def add(weights: dict[str, np.ndarray], config: dict[str, object]) -> None:
        for name, a in parts.items():
            if ".lora_A." in name:
                b = parts[name.replace(".lora_A.", ".lora_B.")]
                target = name.removeprefix("base_model.model.").replace(".lora_A.", ".")
                weights[target] = (weights[target] + scaling * (b @ a)).astype(np.float32)

    return with_fault(checkpoint, folder, add)
