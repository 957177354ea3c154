"""What happens to the child process and to files when something dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from edgellm.engines.gguf.child import Child
from edgellm.engines.gguf.quantize import CHILD, quantize
from edgellm.engines.gguf.types import FILE_TYPES, TENSOR_TYPES
from edgellm.errors import EngineFailed
from tiny_gguf import dense_gguf


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dense_gguf(tmp_path_factory.mktemp("dense") / "dense.gguf")


def test_the_death_of_llama_cpp_becomes_a_sentence_with_its_last_words(tmp_path: Path, dense: Path) -> None:
    request = {
        "do": "quantize", "source": str(dense), "out": str(tmp_path / "x.gguf"),
        "ftype": FILE_TYPES["Q8_0"].number, "threads": 1, "dry_run": False,
        "types": [("^output.weight$", TENSOR_TYPES["IQ2_XXS"].number)], "metadata": {},
    }  # fmt: skip
    with (
        Child(CHILD, "quantizing a.gguf to Q8_0") as child,
        pytest.raises(EngineFailed, match=r"died \(SIGABRT\).*output\.weight .* ggml\.c:\d+: GGML_ASSERT.*failed”"),
    ):
        child.ask(request)


def test_a_killed_child_is_taken_for_lack_of_memory(dense: Path) -> None:
    with Child(CHILD, "quantizing a.gguf to Q8_0") as child:
        child.ask({"do": "inspect", "path": str(dense)})
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(EngineFailed, match="memory ran out"):
            child.ask({"do": "inspect", "path": str(dense)})


def test_when_the_parent_is_killed_the_child_ends_and_removes_what_it_wrote(tmp_path: Path, dense: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom edgellm.engines.gguf.quantize import quantize\n"
        "def stop(done, total):\n    print('started', flush=True)\n    time.sleep(600)\n"
        f"quantize(Path({str(dense)!r}), Path({str(tmp_path / 'out.gguf')!r}), 'Q8_0', on_progress=stop)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        children = psutil.Process(parent.pid).children()
        assert len(children) == 1
        assert len(list(tmp_path.iterdir())) == 1
        parent.kill()
    gone, alive = psutil.wait_procs(children, timeout=60)
    assert (len(gone), alive) == (1, [])
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_nobody_reads_ends_the_child_and_removes_what_it_wrote(tmp_path: Path, dense: Path) -> None:
    """As when the parent dies and the child notices by its answer, before the thread that listens to stdin does."""
    request = {
        "do": "quantize", "source": str(dense), "out": str(tmp_path / "out.gguf"), "threads": 1, "dry_run": False,
        "ftype": FILE_TYPES["Q8_0"].number, "types": [], "metadata": {}, "payload_bytes": 0,
    }  # fmt: skip
    with subprocess.Popen([sys.executable, "-m", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.close()
        child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.flush()
        assert child.wait(timeout=60) == 1
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_neither_child_nor_file(tmp_path: Path, dense: Path) -> None:
    before = psutil.Process().children()
    children: list[psutil.Process] = []

    def interrupt(done: int, total: int) -> None:
        children.extend(child for child in psutil.Process().children() if child not in before)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(dense, tmp_path / "out.gguf", "Q8_0", on_progress=interrupt)
    assert children
    assert not any(child.is_running() for child in children)
    assert list(tmp_path.iterdir()) == []
