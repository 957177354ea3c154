"""Saved sequences of a GGUF model: which runtimes take them, and which adapter they belong to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgellm.engines.gguf.adapter import convert_adapter
from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.opening import open_runtime
from edgellm.engines.protocol import Feed, RuntimeOptions
from edgellm.errors import BadInput, UsageError
from peft_adapters import random_adapter
from tiny_checkpoints import random_llama

IDS = np.random.default_rng(1).integers(0, 8192, 40).tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model.gguf`, and the adapters `one.gguf` and `other.gguf`."""
    folder = tmp_path_factory.mktemp("model")
    checkpoint = random_llama(folder / "checkpoint", layers=1)
    convert(checkpoint, folder / "model.gguf", "F16")
    config = json.loads((checkpoint / "config.json").read_text())
    for seed, name in enumerate(("one", "other")):
        convert_adapter(random_adapter(folder / name, checkpoint, seed=seed), config, folder / f"{name}.gguf")
    return folder


def options(**more: object) -> RuntimeOptions:
    return RuntimeOptions(128, sequences=2, threads=1, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def state(folder: Path) -> bytes:
    runtime = open_runtime(folder / "model.gguf", options())
    runtime.step([Feed(0, IDS, "none")])
    state = runtime.save(0)
    runtime.close()
    return state


@pytest.mark.parametrize(
    "changed",
    [{"type_k": "f32"}, {"type_v": "bf16"}, {"flash_attention": True}, {"batch_invariant": True}],
    ids=lambda changed: next(iter(changed)),
)
def test_a_runtime_with_another_cache_refuses_a_state(folder: Path, state: bytes, changed: dict[str, object]) -> None:
    runtime = open_runtime(folder / "model.gguf", options(**changed))
    with pytest.raises(BadInput, match="other options"):
        runtime.restore(0, state)
    runtime.close()


def test_another_models_state_is_refused_even_if_all_shapes_agree(folder: Path, state: bytes, tmp_path: Path) -> None:
    twin = tmp_path / "twin.gguf"
    shutil.copyfile(folder / "model.gguf", twin)
    runtime = open_runtime(twin, options())
    with pytest.raises(BadInput, match="another model"):
        runtime.restore(0, state)
    runtime.close()


def test_a_state_for_which_the_context_is_too_short_is_refused(folder: Path, state: bytes) -> None:
    runtime = open_runtime(folder / "model.gguf", RuntimeOptions(32, sequences=2, threads=1))
    with pytest.raises(BadInput, match="more context"):
        runtime.restore(0, state)
    runtime.close()


def test_a_restored_sequence_goes_on_with_its_own_adapter_alone(folder: Path) -> None:
    adapters = {name: folder / f"{name}.gguf" for name in ("one", "other")}
    runtime = open_runtime(folder / "model.gguf", options(adapters=adapters))
    runtime.step([Feed(0, IDS[:30], "none", "one")])
    state = runtime.save(0)
    expected = runtime.step([Feed(0, IDS[30:], "last", "one")])[0].copy()
    runtime.step([Feed(1, IDS[:10], "none", "other")])
    runtime.restore(1, state)
    for wrong in (None, "other"):
        with pytest.raises(UsageError, match="'one'"):
            runtime.step([Feed(1, IDS[30:], "last", wrong)])
    assert np.array_equal(runtime.step([Feed(1, IDS[30:], "last", "one")])[0], expected)
    runtime.close()
