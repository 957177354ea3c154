"""The one run of `edgellm demo` that several tests look at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """Its folder, the document that it printed, and what it wrote to stderr."""
    out = tmp_path_factory.mktemp("demo") / "out"
    command = [sys.executable, "-m", "edgellm.cli.main", "demo", "--out", str(out), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout), done.stderr
