"""The embedded model as an evaluation asks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgellm.engines.gguf.convert import convert
from edgellm.engines.protocol import RuntimeOptions
from edgellm.evals.local_model import LocalModel
from edgellm.inference.target import Target
from tiny_checkpoints import TINY_JA


@pytest.fixture(scope="session")
def tiny_ja_f16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evals") / "tiny-ja.gguf"
    convert(TINY_JA, path, "F16")
    return path


@pytest.fixture(scope="session")
def tiny_ja_model(tiny_ja_f16: Path) -> Iterator[LocalModel]:
    """With the context that it was trained with; on one thread, for other tests run beside."""
    target = Target("tiny-ja", "gguf", tiny_ja_f16, "gguf", tiny_ja_f16, TINY_JA)
    with LocalModel(target, RuntimeOptions(threads=1)) as model:
        yield model
