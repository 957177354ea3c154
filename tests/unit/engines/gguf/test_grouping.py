"""Which feeds share a decode, and that a runtime that promises it gives the same bits in any company."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.grouping import bridges, by_kind, companions, one_by_one, together
from edgellm.engines.gguf.loading import GgufOptions
from edgellm.engines.gguf.opening import open_runtime
from edgellm.engines.gguf.quantize import quantize
from edgellm.engines.gguf.runtime import GgufRuntime
from edgellm.engines.protocol import Feed, RuntimeOptions
from tiny_checkpoints import random_llama
from tiny_recurrent import mamba_gguf

SEQUENCES, VOCAB = 8, 8192
PROMPT_LENGTHS = (100, 37, 300, 5, 1, 2, 90, 257)


def test_feeds_of_one_decode_are_in_the_order_of_their_sequences() -> None:
    feeds = [Feed(3, [1]), Feed(0, [1, 2]), Feed(2, [1])]
    assert together(feeds) == [[2, 0], [1]]
    assert one_by_one(feeds) == [[0], [1], [2]]
    assert by_kind(feeds) == [[2, 0], [1]]
    assert together([]) == one_by_one([]) == by_kind([]) == []


def test_narrow_gaps_are_bridged_and_wide_ones_are_not() -> None:
    assert bridges([0, 2, 5, 9]) == [1, 3, 4]
    assert bridges([4]) == []


def test_whoever_stands_alone_gets_a_neighbour() -> None:
    assert companions([0, 1], 4) == []
    assert companions([1], 4) == [2]
    assert companions([3], 4) == [2]
    assert companions([0, 2], 4) == [1]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("grouping")
    checkpoint = random_llama(folder / "checkpoint")
    made = {name: folder / f"{name}.gguf" for name in ("F32", "F16", "Q8_0", "Q4_K_M")}
    convert(checkpoint, made["F32"], "F32")
    convert(checkpoint, made["F16"], "F16")
    for name in ("Q8_0", "Q4_K_M"):
        quantize(made["F32"], made[name], name)
    return made


@pytest.fixture(params=["F16", "Q8_0"])
def invariant(files: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[GgufRuntime]:
    runtime = open_runtime(files[request.param], RuntimeOptions(512, SEQUENCES, threads=2, batch_invariant=True))
    yield runtime
    runtime.close()


def test_a_sequence_gets_the_same_bits_alone_and_in_any_company(invariant: GgufRuntime) -> None:
    assert invariant.info.batch_invariant
    rng = np.random.default_rng(5)
    prompts = [rng.integers(300, VOCAB, length).tolist() for length in PROMPT_LENGTHS]
    answers = rng.integers(300, VOCAB, (SEQUENCES, 6)).tolist()
    alone = [
        np.stack([_read(invariant, s, prompts[s], 256), *_say(invariant, s, answers[s])]) for s in range(SEQUENCES)
    ]
    for _ in range(3):
        first = [_read(invariant, s, prompts[s], int(rng.integers(3, 64))) for s in range(SEQUENCES)]
        rows = [[row] for row in first]
        for turn in range(6):
            waiting = rng.permutation(SEQUENCES).tolist()
            while waiting:
                now, waiting = waiting[: (width := int(rng.integers(1, SEQUENCES + 1)))], waiting[width:]
                for s, logits in zip(now, invariant.step([Feed(s, [answers[s][turn]]) for s in now]), strict=True):
                    rows[s].append(logits[-1].copy())
        for s in range(SEQUENCES):
            np.testing.assert_array_equal(np.stack(rows[s]), alone[s])


def _read(runtime: GgufRuntime, sequence: int, prompt: list[int], piece: int) -> np.ndarray:
    """Feed a prompt from its beginning, never cut so that one token stands alone; the last row of logits."""
    runtime.keep(sequence, 0)
    start, row = 0, np.empty(0)
    while rest := prompt[start:]:
        taken = rest[: piece - 1 if len(rest) == piece + 1 else piece]
        row = runtime.step([Feed(sequence, taken)])[0][-1]
        start += len(taken)
    return row.copy()


def _say(runtime: GgufRuntime, sequence: int, ids: list[int]) -> list[np.ndarray]:
    return [runtime.step([Feed(sequence, [i])])[0][-1].copy() for i in ids]


def test_a_prompt_beside_answers_does_not_change_them_nor_they_it(invariant: GgufRuntime) -> None:
    prompt = list(range(500, 600))
    _read(invariant, 0, [7, 8, 9], 256)
    expected = [_read(invariant, 1, prompt, 256), *_say(invariant, 0, [5])]
    _read(invariant, 0, [7, 8, 9], 256)
    invariant.keep(1, 0)
    beside, answer = invariant.step([Feed(1, prompt), Feed(0, [5])])
    np.testing.assert_array_equal(np.stack([beside[-1], answer[-1]]), np.stack(expected))


def test_a_neighbour_whose_logits_nobody_wants_changes_nothing(invariant: GgufRuntime) -> None:
    alone = invariant.step([Feed(0, [50])])[0].copy()
    invariant.keep(0, 0)
    beside, unwanted = invariant.step([Feed(0, [50]), Feed(1, [60], "none")])
    np.testing.assert_array_equal(beside, alone)
    assert unwanted.shape == (0, VOCAB)


def test_fillers_leave_no_trace_in_what_a_sequence_holds(invariant: GgufRuntime) -> None:
    for sequence, held in ((0, 3), (1, 4), (2, 5)):
        _read(invariant, sequence, list(range(400, 400 + held)), 256)
    expected = _say(invariant, 1, [11])
    invariant.keep(1, 4)
    invariant.step([Feed(0, [9]), Feed(2, [9])])  # sequence 1 is the bridge
    invariant.step([Feed(0, [9])])  # and here the companion, where one is needed
    assert [invariant.held(s) for s in range(3)] == [5, 4, 6]
    np.testing.assert_array_equal(_say(invariant, 1, [11])[0], expected[0])


def test_a_full_neighbour_still_bears_a_companion(files: dict[str, Path]) -> None:
    runtime = open_runtime(files["F16"], RuntimeOptions(256, 2, threads=1, batch_invariant=True))
    runtime.step([Feed(1, [5] * 256)])
    lone = runtime.step([Feed(0, [7])])[0].copy()
    runtime.keep(0, 0)
    runtime.keep(1, 0)
    np.testing.assert_array_equal(runtime.step([Feed(0, [7]), Feed(1, [7])])[0], lone)
    runtime.close()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Q4_K_M", {}),
        ("F16", {"batch_invariant": False}),
        ("F16", {"type_v": "q8_0"}),
        ("F16", {"flash_attention": True}),
        ("F16", {"context_tokens": 40}),  # too short for the probe
    ],
)
def test_what_cannot_be_promised_is_not(files: dict[str, Path], name: str, options: dict[str, object]) -> None:
    chosen = {"context_tokens": 256, "sequences": SEQUENCES, "batch_invariant": True} | options
    runtime = open_runtime(files[name], GgufOptions(**chosen))
    assert not runtime.info.batch_invariant
    runtime.close()


def test_a_model_that_cannot_be_cut_is_not_promised_to_be_batch_invariant(tmp_path: Path) -> None:
    runtime = open_runtime(mamba_gguf(tmp_path / "mamba.gguf"), RuntimeOptions(128, 2, batch_invariant=True))
    assert not runtime.info.batch_invariant
    runtime.close()


COUNT_THREADS = """
import os, sys, time
from pathlib import Path
from edgellm.engines.gguf.opening import open_runtime
from edgellm.engines.protocol import RuntimeOptions
threads = lambda: len(os.listdir("/proc/self/task"))
before, deadline = threads(), time.monotonic() + 10
runtime = open_runtime(Path(sys.argv[1]), RuntimeOptions(256, 8, threads=2, batch_invariant=True))
while threads() > before and time.monotonic() < deadline:
    time.sleep(0.01)  # those of a thread that has ended take a moment
sys.exit(threads() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_trying_it_out_leaves_no_helper_thread_behind_that_would_slow_every_later_decode(
    files: dict[str, Path],
) -> None:
    assert subprocess.run([sys.executable, "-c", COUNT_THREADS, files["Q8_0"]]).returncode == 0


def test_a_single_sequence_has_no_company_to_depend_on(files: dict[str, Path]) -> None:
    runtime = open_runtime(files["Q4_K_M"], RuntimeOptions(256))
    assert runtime.info.batch_invariant
    runtime.close()
