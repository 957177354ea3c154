"""What this build of onnxruntime computes with."""

from __future__ import annotations

from typing import Any

import onnxruntime

from edgellm.records.machine import Engine


def describe() -> Engine:
    library: Any = onnxruntime  # not all that it offers has types
    providers = tuple(name.removesuffix("ExecutionProvider") for name in library.get_available_providers())
    return Engine(loads=True, build=f"onnxruntime {library.__version__}", backends=providers)
