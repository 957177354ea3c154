"""What some tests need beside the project: a browser, and reference implementations in environments of their own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def missing(reason: str) -> NoReturn:
    """Skip the test that needs what is not there; on CI, fail it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def oracle(variable: str) -> Path:
    """The path that `variable` holds."""
    value = os.environ.get(variable)
    if value:
        return Path(value)
    missing(f"{variable} is not set; `make test` brings the reference implementations")


def chromium() -> Path:
    """The machine's own Chromium or Chrome."""
    for name in BROWSERS:
        if found := shutil.which(name):
            return Path(found)
    missing(f"none of {', '.join(BROWSERS)} is on PATH; `.ci/run` brings Debian's chromium")
