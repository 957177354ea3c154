"""One quantizing process for all tests: llama.cpp takes seconds to prepare the IQ types, once a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgellm.engines.gguf.child import Child
from edgellm.engines.gguf.quantize import CHILD


@pytest.fixture(scope="session")
def long_lived_child() -> Iterator[Child]:
    with Child(CHILD, "quantizing") as child:
        yield child
