"""`edgellm doctor` on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgellm.cli.doctor import doctor
from edgellm.engines import survey


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgellm", "doctor", *words]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    done = run("--json", EDGELLM_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_promised_key_is_there(measured: dict[str, Any]) -> None:
    for path in doctor.json_keys:  # type: ignore[attr-defined]
        at: Any = measured
        for word in path.split("."):
            name = word.removesuffix("[]")
            assert name in at, path
            at = at[name]
            if word.endswith("[]"):
                if not at:
                    break
                at = at[0]


def test_this_machine_is_ok_and_was_measured(measured: dict[str, Any]) -> None:
    assert measured["ok"]
    assert measured["engines"]["gguf"]["loads"]
    assert "CPU" in measured["engines"]["gguf"]["backends"]
    assert measured["memory_bandwidth_bytes_per_s"] > 1e8
    assert measured["flops_per_s"] > 1e8
    assert measured["offline"]["EDGELLM_OFFLINE"] is True


def test_quickly_nothing_is_measured_and_people_read_aligned_lines() -> None:
    done = run("--quick")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "ok"
    assert not [line for line in lines if line.startswith(("reads", "computes"))]
    assert all(" — get it with: " in line for line in lines if line.startswith("missing: "))
    facts = [line for line in lines[:-1] if not line.startswith(("missing: ", "a benchmark "))]
    assert {line[9] for line in facts} == {" "}
    assert " " not in {line[10] for line in facts}


def without_engines(tmp_path: Path) -> str:
    """A folder to be searched first, in which both engines' libraries do not load."""
    for name in ("llama_cpp", "onnxruntime"):
        (tmp_path / f"{name}.py").write_text(f'raise ImportError("lib{name}.so was built for another system")\n')
    return os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])


def test_where_no_engine_loads_the_exit_code_is_1_and_the_reason_is_told(tmp_path: Path) -> None:
    done = run("--quick", "--json", PYTHONPATH=without_engines(tmp_path))
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert not found["ok"]
    assert found["engines"]["gguf"]["why_not"] == "libllama_cpp.so was built for another system"
    told = {missing["what"] for missing in found["missing"]}
    assert {"the engine for GGUF files", "the engine for ONNX models"} <= told
    assert "nothing can be run on this machine as it is: no engine loads; " in done.stderr.splitlines()[-1]


def test_a_library_that_dies_takes_nobody_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    died = "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n"
    (tmp_path / "onnxruntime.py").write_text(died)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    engine = survey.look_at("onnx")
    assert not engine.loads
    assert f"died ({signal.SIGILL.name})" in engine.why_not
