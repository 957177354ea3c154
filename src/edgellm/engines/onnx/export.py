"""Checkpoint → ONNX folder, through optimum in a process of its own.

The folder holds `model.onnx` (with a data file beside it past 2 GB), `config.json`, and the checkpoint's own
tokenizer files, byte for byte. Weights are written in float32 whatever the checkpoint's type; quantizing is a
later stage.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from edgellm import errors
from edgellm.errors import BadInput, EngineFailed
from edgellm.store.atomic import folder_aside

CHILD = "edgellm.engines.onnx.export_child"
# huggingface_hub and transformers read these once, when they are imported.
CHILD_SETTINGS = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
# What the child may report by name; everything else it dies of is an EngineFailed.
CHILD_ERRORS = {name: getattr(errors, name) for name in ("BadInput", "MissingExtra", "NoSpace")}


def export(checkpoint: Path, out: Path, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Write `checkpoint` (a Hugging Face folder) as an ONNX folder at `out`, whole or not at all.

    `on_progress` is called with steps done and steps in all. Raises BadInput for a folder that is no loadable
    checkpoint, MissingExtra where optimum or torch is not installed, NoSpace for a full disk, EngineFailed if
    the exporter fails.
    """
    if not (checkpoint / "config.json").is_file():
        raise BadInput(f"{checkpoint} has no config.json; give the folder of a Hugging Face checkpoint")
    with folder_aside(out) as aside:
        _run_child(checkpoint, aside, on_progress)


def _run_child(checkpoint: Path, aside: Path, on_progress: Callable[[int, int], None] | None) -> None:
    # -P: the working folder is not searched for modules, so a stray torch.py there is not run.
    command = [sys.executable, "-P", "-m", CHILD, str(checkpoint.absolute()), str(aside.absolute())]
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            env={**os.environ, **CHILD_SETTINGS},
        )  # fmt: skip
        assert child.stdin is not None  # PIPE was asked for
        assert child.stdout is not None
        try:
            reported = _follow(child.stdout, on_progress)
            code = child.wait()
        finally:
            child.kill()  # does nothing to one that has ended
            child.wait()
            child.stdin.close()
            child.stdout.close()
        if reported is not None:
            raise reported
        if code != 0:
            raise EngineFailed(_death(checkpoint, code, log))


def _follow(lines: IO[str], on_progress: Callable[[int, int], None] | None) -> errors.EdgellmError | None:
    """Pass the child's progress on until it closes its end; gives the error that it named, if any."""
    reported = None
    for line in lines:
        message = json.loads(line)
        if "error" in message:
            reported = CHILD_ERRORS[message["error"]](message["sentence"])
        elif on_progress:
            on_progress(message["done"], message["total"])
    return reported


def _death(checkpoint: Path, code: int, log: IO[str]) -> str:
    if code < 0:
        return (
            f"the exporter of {checkpoint} was ended by signal {-code}, most often for want of memory; "
            "it needs about 8 bytes a parameter"
        )
    log.seek(0)
    lines = [line.strip() for line in log if line.strip()]
    reason = lines[-1] if lines else f"exit code {code}"
    return f"optimum could not export {checkpoint} ({reason}); check that optimum knows its architecture"
