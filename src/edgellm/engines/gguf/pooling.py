"""How a checkpoint of sentence-transformers makes one vector of a text, for the key that GGUF has for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf

from edgellm.errors import BadInput, UsageError
from edgellm.store.checkpoint import POOLING_FILE, read_json

# Ways of pooling by the names of sentence-transformers, alone and in the flags of its older files.
TYPES = {"mean": gguf.PoolingType.MEAN, "cls": gguf.PoolingType.CLS, "lasttoken": gguf.PoolingType.LAST}
FLAGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "lasttoken"}
# Modules after the model itself; the vectors of `Runtime.embed` always have length 1.
MODULES = ("Transformer", "Pooling", "Normalize")


def pooling_type(folder: Path) -> gguf.PoolingType | None:
    """None for a checkpoint that is none of sentence-transformers'.

    Raises UsageError for pooling, or modules after it, that a GGUF cannot describe, BadInput for damaged files.
    """
    if not (folder / POOLING_FILE).is_file():
        return None
    for name in _modules(folder):
        if name not in MODULES:
            raise UsageError(
                f"{folder} ends in a {name} module of sentence-transformers, which a GGUF has no place for; "
                "give an embedding model without it"
            )
    chosen = _chosen(read_json(folder / POOLING_FILE))
    if len(chosen) != 1 or chosen[0] not in TYPES:
        raise UsageError(
            f"{folder / POOLING_FILE} pools by {', '.join(chosen) or 'nothing'}, where a GGUF knows one of "
            f"{', '.join(TYPES)}; give another embedding model"
        )
    return TYPES[chosen[0]]


def _modules(folder: Path) -> list[str]:
    path = folder / "modules.json"
    if not path.is_file():
        return []
    try:
        return [str(module["type"]).rpartition(".")[2] for module in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise BadInput(f"{path} is no list of modules; fetch it again") from None


def _chosen(config: Mapping[str, Any]) -> list[str]:
    if isinstance(mode := config.get("pooling_mode"), str):
        return [mode]
    flags = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    return [FLAGS.get(flag, flag) for flag in flags]
