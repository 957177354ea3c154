"""What several tests share: the one run of `edgellm demo` that they look at, and a browser."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oracles import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """Its folder, the document that it printed, and what it wrote to stderr."""
    out = tmp_path_factory.mktemp("demo") / "out"
    command = [sys.executable, "-m", "edgellm.cli.main", "demo", "--out", str(out), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright  # here, so that tests without a browser do not need it

    executable = chromium()
    # Chromium's sandbox refuses root, which containers run as; the only pages opened are our own.
    with sync_playwright() as tool:
        opened = tool.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield opened
        opened.close()
