"""SIGKILL at any moment of a build: a bundle is whole or not there, and what was finished is not made again."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import psutil
import pytest

from edgellm.build.verification import verify_bundle
from edgellm.inference.target import read_manifest
from edgellm.stages import bundle
from edgellm.stages.verify import check_digests
from edgellm.store.atomic import ASIDE, REPLACED, replace_in_two_renames
from edgellm.store.work import WorkFolder
from live_server import eventually
from quick_build import STEPS, QuickBuild, make_quick_build, one_core, start, whole_steps
from tiny_checkpoints import TINY_JA

MOMENTS = 10
PATIENCE_S = 60


@dataclass(frozen=True)
class Whole:
    """A build that nobody disturbed: its work folder, its bundle, and how long the command took."""

    order: QuickBuild
    work: Path
    bundle: Path
    older: Path  # another bundle, to stand where the new one goes
    seconds: float


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    order = make_quick_build(folder)
    began = time.monotonic()
    process = start(order.words(folder / "bundle"), folder / "work")
    said = process.communicate(timeout=PATIENCE_S)
    seconds = time.monotonic() - began
    assert process.returncode == 0, said
    QuickBuild(order.checkpoint, order.text, "Q4_0").run(folder / "older-work", folder / "older")
    return Whole(order, folder / "work", folder / "bundle", folder / "older", seconds)


def kill(process: subprocess.Popen[str]) -> bool:
    """SIGKILL, and wait until the processes that it had started have ended too; False where it had ended before."""
    process.send_signal(signal.SIGSTOP)  # so that it starts no other between the two calls
    if process.poll() is not None:
        process.communicate()
        return False
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, f"{[c.cmdline() for c in alive]} outlived the process that started them"
    return True


def is_same_bundle(one: Path, other: Path) -> bool:
    """Byte for byte, but for the manifests, which say when they were written."""
    names = sorted(str(p.relative_to(one)) for p in one.rglob("*") if p.is_file())
    if names != sorted(str(p.relative_to(other)) for p in other.rglob("*") if p.is_file()):
        return False
    return all((one / n).read_bytes() == (other / n).read_bytes() for n in names if n != bundle.MANIFEST)


def check_accepted(out: Path, whole: Whole, older: bool) -> str:
    """What stands at `out`: "nothing", "the older bundle" or "the new bundle", each whole."""
    if not out.exists():
        assert not older, "the older bundle has gone and no new one has come"
        return "nothing"
    with one_core():
        assert verify_bundle(out, None, WorkFolder(whole.work)).passed
    if is_same_bundle(out, whole.bundle):
        return "the new bundle"
    assert older
    assert is_same_bundle(out, whole.older)
    return "the older bundle"


def phase_of(work: Path, out: Path, found: str) -> str:
    """What a run had come to when it was killed, by what it left."""
    if found == "the new bundle":
        return "bundled"
    if any(name.startswith(ASIDE) for name in os.listdir(out.parent)):
        return "bundling"
    if making := [p.name for p in work.glob(f"{ASIDE}*")]:
        return next(stage for stage in STEPS if f"-{stage}-" in making[0])
    finished = whole_steps(work)
    return "measure" if finished == STEPS else f"before {STEPS[len(finished)]}"


def killed_after(moment: float, whole: Whole, work: Path, out: Path, older: bool, made: list[str]) -> bool:
    """Start the command with these steps made already, and kill it after so many seconds; False if it had ended."""
    for folder in (work, out.parent):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    if older:
        shutil.copytree(whole.older, out)
    for stage in made:
        kept = next(whole.work.glob(f"{stage}-*"))
        shutil.copytree(kept, work / kept.name)
    process = start(whole.order.words(out), work)
    time.sleep(moment)
    return kill(process)


def test_a_kill_at_any_of_ten_moments_leaves_whole_things_and_the_next_run_finishes(
    whole: Whole, tmp_path: Path
) -> None:
    chance, phases = random.Random(20), Counter[str]()
    for i in range(MOMENTS):
        work, out = tmp_path / f"{i}" / "work", tmp_path / f"{i}" / "out" / "bundle"
        older, moment = i % 2 == 1, (i + chance.random()) / MOMENTS * whole.seconds
        while not killed_after(moment, whole, work, out, older, STEPS[: i % 3]):
            moment *= 0.8  # this run was faster than the one that was timed
        found = check_accepted(out, whole, older)
        finished = whole_steps(work)
        phases[phase_of(work, out, found)] += 1
        assert whole.order.run(work, out).reused == finished
        assert check_accepted(out, whole, older=False) == "the new bundle"
        assert os.listdir(out.parent) == [out.name], "what the killed run left is still there"
        assert sorted(p.name.partition("-")[0] for p in work.iterdir()) == sorted(STEPS)
    print(dict(phases))
    assert len(phases) >= 3, f"the moments fell into {dict(phases)}: too few different ones"


def has_made(work: Path, stage: str, process: subprocess.Popen[str]) -> bool:
    return stage in whole_steps(work) or process.poll() is not None


def test_a_run_killed_as_a_step_appears_is_continued_from_there(whole: Whole, tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "bundle"
    inodes: dict[str, int] = {}
    for stage in STEPS:
        process = start(whole.order.words(out), work)
        eventually(partial(has_made, work, stage, process), PATIENCE_S)
        kill(process)
        assert not out.exists(), "the run was over before it could be killed"
        assert stage in whole_steps(work)
        now = {s: next(work.glob(f"{s}-*")).stat().st_ino for s in whole_steps(work)}
        assert inodes.items() <= now.items(), "a finished step was made again"
        inodes = now
    assert whole.order.run(work, out).reused == STEPS
    assert is_same_bundle(out, whole.bundle)


def write_and_die(whole: Whole, out: Path, operations: int) -> None:
    """Bundle, and die by SIGKILL before the file operation of that number."""
    left = operations

    def watch(event: str, _arguments: object) -> None:
        nonlocal left
        if event == "open" or (event.startswith(("os.", "shutil.")) and event != "os.kill"):
            left -= 1
            if left == -1:
                os.kill(os.getpid(), signal.SIGKILL)

    manifest = read_manifest(whole.bundle)
    quantized = next(whole.work.glob("quantize-*"))
    extras = {"quantize.json": quantized / "quantize.json", "imatrix.gguf": whole.bundle / "imatrix.gguf"}
    sys.addaudithook(watch)
    with bundle.claim(out):
        bundle.write_bundle(out, quantized / "model.gguf", whole.order.checkpoint, extras, manifest)
    os._exit(0)  # what Python itself opens on its way out is not ours


def exit_code(do: Callable[..., None], *arguments: object) -> int | None:
    process = multiprocessing.get_context("fork").Process(target=do, args=arguments)
    process.start()
    process.join(PATIENCE_S)
    return process.exitcode


def test_a_kill_before_any_operation_on_files_leaves_the_older_bundle_or_the_new_one(
    whole: Whole, tmp_path: Path
) -> None:
    out, found = tmp_path / "bundle", Counter[str]()
    shutil.copytree(whole.older, out)
    for operations in count():
        code = exit_code(write_and_die, whole, out, operations)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        assert check_digests(out, read_manifest(out))[0].passed
        if is_same_bundle(out, whole.bundle):
            found["new"] += 1
            shutil.rmtree(out)
            shutil.copytree(whole.older, out)
        else:
            assert is_same_bundle(out, whole.older)
            found["older"] += 1
    print(dict(found))
    assert min(found["new"], found["older"]) > 1
    assert os.listdir(tmp_path) == ["bundle"], "the last run did not clear what the killed ones left"
    assert is_same_bundle(out, whole.bundle)


def test_where_names_cannot_be_exchanged_the_next_run_puts_the_older_bundle_back(whole: Whole, tmp_path: Path) -> None:
    out, new = shutil.copytree(whole.older, tmp_path / "bundle"), tmp_path / "new"

    def die_between_the_renames() -> None:
        def watch(event: str, names: tuple[str, ...]) -> None:
            if event == "os.rename" and names[0] == str(new):
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        replace_in_two_renames(new, out)

    assert exit_code(die_between_the_renames) == -signal.SIGKILL
    assert [p.name.startswith(REPLACED) for p in tmp_path.iterdir()] == [True]
    with bundle.claim(out):
        assert is_same_bundle(out, whole.older)
    assert os.listdir(tmp_path) == ["bundle"]


def test_clean_removes_what_a_killed_run_left_however_young(whole: Whole, tmp_path: Path) -> None:
    work = tmp_path / "work"
    process = start(whole.order.words(tmp_path / "bundle"), work)
    eventually(lambda: any(work.glob(f"{ASIDE}*")), PATIENCE_S)
    kill(process)
    kept = whole_steps(work)
    cleaned = start(["clean"], work)
    cleaned.communicate(timeout=PATIENCE_S)
    assert cleaned.returncode == 0
    assert [p.name.partition("-")[0] for p in sorted(work.iterdir())] == sorted(kept)


@pytest.mark.onnx
def test_the_exporter_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    words = ["quantize", str(TINY_JA), "--format", "onnx", "--out", str(tmp_path / "bundle")]
    process = start(words, tmp_path / "work")

    def is_exporting() -> bool:
        return any("export_child" in " ".join(c.cmdline()) for c in psutil.Process(process.pid).children())

    eventually(is_exporting, PATIENCE_S)
    kill(process)
    assert not any((tmp_path / "work").rglob("model.onnx")), "it went on to the end"
