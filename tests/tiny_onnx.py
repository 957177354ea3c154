"""A one-layer ONNX decoder made by hand: small, and what a run gives is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Reshaper = Callable[[dict[str, list[Any]]], None]  # changes the lists of inputs, outputs and nodes of a graph


def hand_graph(folder: Path, change: Reshaper | None = None, **saving: object) -> Path:
    """A one-layer graph with a KV cache, whose table has 5 rows where config.json declares 8 tokens.

    Its logits are the fed token's row, so what a run gives is known; `change` may spoil it first. `saving` goes to
    `onnx.save`.
    """
    import onnx
    from onnx import TensorProto as T
    from onnx import helper as h

    past, present = ["rows", 1, "past", 2], ["rows", 1, "held", 2]
    parts = {
        "inputs": [h.make_tensor_value_info("input_ids", T.INT64, ["rows", "tokens"])]
        + [h.make_tensor_value_info(f"past_key_values.0.{x}", T.FLOAT, past) for x in ("key", "value")],
        "outputs": [h.make_tensor_value_info("logits", T.FLOAT, ["rows", "tokens", "vocab"])]
        + [h.make_tensor_value_info(f"present.0.{x}", T.FLOAT, present) for x in ("key", "value")],
        "nodes": [
            h.make_node("Gather", ["table", "input_ids"], ["logits"]),
            h.make_node("Gather", ["narrow", "input_ids"], ["rows"]),
            h.make_node("Unsqueeze", ["rows", "axis"], ["new"]),
            *(h.make_node("Concat", [f"past_key_values.0.{x}", "new"], [f"present.0.{x}"], axis=2)
              for x in ("key", "value")),
        ],
    }  # fmt: skip
    if change:
        change(parts)
    weights = {"table": np.eye(5, 8, dtype=np.float32), "narrow": np.ones((5, 2), np.float32)}
    weights |= {"axis": np.array([1], np.int64)}
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = h.make_graph(parts["nodes"], "hand", parts["inputs"], parts["outputs"], initializers)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, folder / "model.onnx", **saving)
    config = {"model_type": "hand", "vocab_size": 8, "max_position_embeddings": 16}
    (folder / "config.json").write_text(json.dumps(config))
    return folder
