"""The estimate of what llama.cpp reserves for results, against what it says of itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgellm.build.synth import synth
from edgellm.engines.gguf.compute_size import compute_bytes
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.loading import GgufOptions
from small_recipes import small_mixture, with_shape

# In a process of its own: llama.cpp has one log, and ours drops what is no error.
ASK = """
import ctypes, json, re, sys
from pathlib import Path
import llama_cpp
from edgellm.engines.gguf import library, loading
from edgellm.engines.gguf.header import read_header
library.start()
said = []
@llama_cpp.llama_log_callback
def listen(level, text, data):
    said.append(text.decode())
llama_cpp.llama_log_set(listen, ctypes.c_void_p(0))
path = Path(sys.argv[1])
model = loading.load_model(read_header(path), loading.GgufOptions())
sizes = []
for context, sequences, flash in json.loads(sys.argv[2]):
    said.clear()
    options = loading.GgufOptions(context_tokens=context, sequences=sequences, flash_attention=flash)
    made = loading.make_context(path, model, options, context)
    sizes.append(sum(map(float, re.findall(r"compute buffer size = +([0-9.]+) MiB", "".join(said)))))
    llama_cpp.llama_free(made)
print(json.dumps(sizes))
"""
CASES = [(512, 1, True), (4096, 1, True), (4096, 4, True), (16384, 1, False), (8192, 2, False)]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """A file, and the MiB that llama.cpp says it reserves in each case."""
    folder = tmp_path_factory.mktemp("compute")
    path = synth(with_shape(small_mixture(folder), vocab_size=16384), folder / "made.gguf", layers=1).path
    command = [sys.executable, "-c", ASK, str(path), json.dumps(CASES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return path, json.loads(done.stdout)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_the_estimate_is_within_a_tenth(said: tuple[Path, list[float]], number: int) -> None:
    path, found = said
    context, sequences, flash = CASES[number]
    options = GgufOptions(context_tokens=context, sequences=sequences, flash_attention=flash)
    print(found[number], compute_bytes(read_header(path), options, context) / 2**20)
    assert compute_bytes(read_header(path), options, context) / 2**20 == pytest.approx(found[number], rel=0.1)
