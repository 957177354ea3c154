"""What lies in an ONNX folder: `model.onnx` (with or without a data file beside it) and `config.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import BadInput

GRAPH_FILE = "model.onnx"
CONFIG_FILE = "config.json"
F32_BYTES = 4
DEFAULT_CONTEXT_LIMIT = 4096  # some families declare ten million tokens: never allow what nobody asked for
CONTEXT_KEYS = ("max_position_embeddings", "n_positions")


@dataclass(frozen=True)
class ModelFacts:
    """What the engine needs of `config.json`."""

    architecture: str  # Hugging Face's `model_type`, such as "llama"
    context_tokens: int  # the most that the model was made for
    vocab_tokens: int


def graph_path(artifact: Path) -> Path:
    """The graph of an ONNX folder, or `artifact` itself if it is a file; raises BadInput if there is none."""
    path = artifact / GRAPH_FILE if artifact.is_dir() else artifact
    if not path.is_file():
        raise BadInput(f"there is no ONNX graph at {path}; give an exported folder or the .onnx file in it")
    return path


def read_facts(graph: Path) -> ModelFacts:
    """Read `config.json` beside the graph; raises BadInput if it is missing, damaged or says too little."""
    path = graph.with_name(CONFIG_FILE)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{graph} has no {CONFIG_FILE} beside it; copy the checkpoint's there") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as JSON ({error}); export the checkpoint again") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise BadInput(f"{path} does not say its model_type; export the checkpoint again")
    return ModelFacts(
        architecture=config["model_type"],
        context_tokens=_count(path, config, CONTEXT_KEYS),
        vocab_tokens=_count(path, config, ("vocab_size",)),
    )


def memory_bytes(artifact: Path, options: RuntimeOptions) -> int:
    """About what the model takes when it is loaded and every sequence is full: its files and the F32 KV cache."""
    graph = graph_path(artifact)
    context = options.context_tokens or min(read_facts(graph).context_tokens, DEFAULT_CONTEXT_LIMIT)
    config = json.loads(graph.with_name(CONFIG_FILE).read_text(encoding="utf-8"))
    heads = config.get("num_attention_heads") or 1
    width = config.get("head_dim") or config.get("hidden_size", 0) // heads
    cells = config.get("num_hidden_layers", 0) * (config.get("num_key_value_heads") or heads) * width * 2
    files = sum(file.stat().st_size for file in graph.parent.iterdir() if file.is_file())
    return files + F32_BYTES * int(cells) * context * options.sequences


def _count(path: Path, config: dict[str, Any], keys: tuple[str, ...]) -> int:
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and value > 0:
            return value
    raise BadInput(f"{path} does not give {' or '.join(keys)} as a positive number; export the checkpoint again")
