"""Whether an engine's library loads on this machine, and what it computes with.

Each is loaded in a process of its own, since a library that was built for another processor dies on its first
instruction that this one lacks.

    python -m edgellm.engines.survey gguf
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module

from edgellm.engines import RUNTIMES
from edgellm.engines.deaths import how_it_ended
from edgellm.records.machine import Engine

DESCRIBERS = {"gguf": "edgellm.engines.gguf.devices", "onnx": "edgellm.engines.onnx.devices"}
assert DESCRIBERS.keys() == RUNTIMES.keys()
LONGEST_S = 60


def survey() -> dict[str, Engine]:
    """Every engine by name; one that does not load says why."""
    return {name: look_at(name) for name in DESCRIBERS}


def look_at(name: str) -> Engine:
    command = [sys.executable, "-P", "-m", "edgellm.engines.survey", name]
    environment = os.environ | {"GGML_NO_BACKTRACE": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired:
        return Engine(loads=False, why_not=f"its library did not load within {LONGEST_S} s")
    if done.returncode:
        return Engine(loads=False, why_not=f"the process {how_it_ended(done.returncode, done.stderr.splitlines())}")
    return Engine.model_validate_json(done.stdout.splitlines()[-1])


def main() -> None:
    try:
        found = import_module(DESCRIBERS[sys.argv[1]]).describe()
    except ImportError as error:
        found = Engine(loads=False, why_not=str(error))
    print(json.dumps(found.model_dump()))


if __name__ == "__main__":
    main()
