"""One checkpoint and its export, shared by the tests of this folder, and a small graph made by hand."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tiny_checkpoints import random_llama

EXTRA = ("onnx", "onnxruntime", "optimum", "torch", "transformers")


@pytest.fixture(autouse=True, scope="session")
def _extra() -> None:
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"the [onnx] extra is not installed: {', '.join(missing)} missing")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_llama(tmp_path_factory.mktemp("onnx") / "checkpoint")


@pytest.fixture(scope="session")
def exported(checkpoint: Path) -> Path:
    from edgellm.engines.onnx.export import export

    out = checkpoint.with_name("exported")
    export(checkpoint, out)
    return out


Reshaper = Callable[[dict[str, list]], None]  # changes the lists of inputs, outputs and nodes of a graph


@pytest.fixture
def make_graph(tmp_path: Path) -> Callable[..., Path]:
    """A one-layer graph with a KV cache, whose table has 5 rows where config.json declares 8 tokens.

    Its logits are the fed token's row, so what a run gives is known; `change` may spoil it first.
    """

    def make(change: Reshaper | None = None) -> Path:
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
        onnx.save(model, tmp_path / "model.onnx")
        config = {"model_type": "hand", "vocab_size": 8, "max_position_embeddings": 16}
        (tmp_path / "config.json").write_text(json.dumps(config))
        return tmp_path

    return make
