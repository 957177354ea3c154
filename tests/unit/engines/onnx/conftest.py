"""One checkpoint and its export, shared by the tests of this folder, and a small graph made by hand."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tiny_checkpoints import random_llama
from tiny_onnx import hand_graph

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


@pytest.fixture
def make_graph(tmp_path: Path) -> Callable[..., Path]:
    """`tiny_onnx.hand_graph` in the test's own folder."""
    return partial(hand_graph, tmp_path)
