"""Reference implementations live in environments of their own, named by environment variables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def oracle(variable: str) -> Path:
    """The path that `variable` holds; without it the test is skipped, or fails on CI."""
    value = os.environ.get(variable)
    if value:
        return Path(value)
    reason = f"{variable} is not set; `make test` brings the reference implementations"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
