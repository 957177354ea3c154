"""What we refuse is what llama.cpp would refuse or die of, for every type, kind of tensor, and matrix or none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import gguf
import numpy as np
import pytest

from edgellm.engines.gguf import quantize_plan
from edgellm.engines.gguf.child import Child
from edgellm.engines.gguf.imatrix_file import Entry, Imatrix
from edgellm.engines.gguf.imatrix_transfer import send_values
from edgellm.engines.gguf.quantize import Order, make_plan
from edgellm.engines.gguf.types import FILE_TYPES, NOT_FOR_WEIGHTS, TENSOR_TYPES
from edgellm.errors import EdgellmError
from tiny_gguf import Random, common_metadata, write_gguf

WIDTH, EXPERTS = 256, 2
TENSORS = {
    "token_embd.weight": (WIDTH, 1), "output.weight": (WIDTH, 1), "blk.0.attn_v.weight": (WIDTH, 1),
    "blk.0.ffn_down_exps.weight": (WIDTH, EXPERTS),
}  # fmt: skip
ONES = {name: Entry(np.ones((n, width), np.float32), np.ones(n, np.float32)) for name, (width, n) in TENSORS.items()}
IMATRIX = Imatrix(ONES, 1, 512)
NUMBERS = {t.name: t.number for t in TENSOR_TYPES.values()} | {
    name: int(gguf.GGMLQuantizationType[name]) for name in NOT_FOR_WEIGHTS
}
Case = tuple[str, str, bool]  # type, tensor, with a matrix

# Every call in a fork of its own, since many of them end the process.
FORKS = """
import json, os, sys
from edgellm.engines.gguf import quantize_child
quantize_child.start()
requests, values = json.load(sys.stdin)
ends = []
for request, with_matrix in requests:
    if (pid := os.fork()) == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        payload = bytearray(b"".join(size * b"\\0\\0\\x80\\x3f" for size in values.values()))
        quantize_child.keep_imatrix(values if with_matrix else {}, payload)
        os._exit(quantize_child.quantize(request))
    ends.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
json.dump(ends, sys.stdout)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = Random(0)
    tensors = {
        "token_embd.weight": random.matrix(16, WIDTH), "output.weight": random.matrix(16, WIDTH),
        "output_norm.weight": random.norm(WIDTH), **random.attention("blk.0", WIDTH),
        "blk.0.ffn_norm.weight": random.norm(WIDTH),
        "blk.0.ffn_gate_inp.weight": random.matrix(EXPERTS, WIDTH).astype(np.float32),
        "blk.0.attn_q_norm.weight": random.norm(WIDTH // 4), "blk.0.attn_k_norm.weight": random.norm(WIDTH // 4),
    }  # fmt: skip
    tensors |= {f"blk.0.ffn_{p}_exps.weight": random.matrix(EXPERTS, 16, WIDTH) for p in ("gate", "up", "down")}
    experts = {"expert_count": EXPERTS, "expert_used_count": 1, "expert_feed_forward_length": WIDTH}
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    return write_gguf(path, "qwen3moe", common_metadata(1, WIDTH, WIDTH) | experts, tensors)


def refused(child: Child, model: Path, case: Case) -> bool:
    """Whether planning ends in a sentence; only dry runs are made."""
    kind, tensor, with_matrix = case
    imatrix = IMATRIX if with_matrix else None
    try:
        order = Order(model, FILE_TYPES["Q8_0"], quantize_plan.by_pattern({f"^{tensor}$": kind}), imatrix, 1)
        make_plan(child, order, model.with_suffix(".plan"))
    except EdgellmError:
        return True
    return False


def request(model: Path, case: Case) -> dict[str, object]:
    """The same without our checks."""
    return {
        "do": "quantize", "ftype": FILE_TYPES["Q8_0"].number, "threads": 1, "dry_run": False, "metadata": {},
        "types": [(f"^{case[1]}$", NUMBERS[case[0]])], "source": str(model), "out": str(model.with_suffix(".out")),
    }  # fmt: skip


def ends_in_forks(model: Path, cases: list[Case]) -> list[int]:
    """Of each case: 0, 1 where llama.cpp gives an error, or minus the signal that it died of."""
    sizes = {name: entry.in_sum2.size for name, entry in ONES.items()}
    document = json.dumps([[(request(model, case), case[2]) for case in cases], sizes])
    done = subprocess.run(
        [sys.executable, "-c", FORKS, str(model)], input=document, capture_output=True, text=True, check=True,
        timeout=240, env=os.environ | {"GGML_NO_BACKTRACE": "1"},
    )  # fmt: skip
    ends: list[int] = json.loads(done.stdout.splitlines()[-1])
    return ends


def test_every_combination_is_refused_before_it_starts_or_done_by_llama_cpp(
    model: Path, long_lived_child: Child
) -> None:
    """Types × tensors × matrix or none: what we accept is written, what we refuse ends in an error or a death."""
    cases = {matrix: [(k, t, matrix) for k, t in product(NUMBERS, TENSORS)] for matrix in (True, False)}
    assert sum(map(len, cases.values())) == 35 * 4 * 2
    no: list[Case] = []
    for matrix, some in cases.items():
        send_values(long_lived_child, IMATRIX.values() if matrix else {})
        verdicts = {case: refused(long_lived_child, model, case) for case in some}
        no += [case for case in some if verdicts[case]]
        for case in (case for case in some if not verdicts[case]):
            assert long_lived_child.ask(request(model, case))["code"] == 0, case
    ends = dict(zip(no, ends_in_forks(model, no), strict=True))
    assert [case for case, end in ends.items() if end == 0] == []
    assert {kind for (kind, _, _), end in ends.items() if end < 0} >= {"I8", "Q8_K", "IQ2_XXS", "IQ1_S"}
