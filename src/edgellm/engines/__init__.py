"""The engines, by format name. A plain table: an entry is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import cast

from edgellm.engines.protocol import Runtime, RuntimeOptions
from edgellm.errors import UsageError

RUNTIMES = {
    "gguf": "edgellm.engines.gguf.opening",
    "onnx": "edgellm.engines.onnx.runtime",
}
SIZES = {"gguf": "edgellm.engines.gguf.placement", "onnx": "edgellm.engines.onnx.folder"}


def memory_bytes(engine: str, artifact: Path, options: RuntimeOptions) -> int:
    """About how much memory a model takes once it is loaded, from its headers; raises BadInput for a bad file."""
    return cast(int, import_module(SIZES[engine]).memory_bytes(artifact, options))


def open_runtime(engine: str, artifact: Path, options: RuntimeOptions) -> Runtime:
    """Load `artifact` with the named engine; raises UsageError for an unknown name, BadInput for a bad file."""
    try:
        module = import_module(RUNTIMES[engine])
    except KeyError:
        raise UsageError(f"there is no engine called {engine!r}; known are {', '.join(RUNTIMES)}") from None
    return cast(Runtime, module.open_runtime(artifact, options))
