"""Disks that are too small, become full or are read-only, and a second process: one sentence, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgellm.build.calibration import write_imatrix
from edgellm.build.demo import run_demo
from edgellm.build.verification import verify_bundle
from edgellm.errors import Busy, EdgellmError, NoSpace, NotWritable, UsageError
from edgellm.stages import Report
from edgellm.stages.bundle import claim
from edgellm.stages.convert import convert
from edgellm.stages.quantize import quantize
from edgellm.store.work import WorkFolder
from live_server import eventually
from quick_build import STEPS, QuickBuild, make_quick_build, one_core, quick_checkpoint, start, whole_steps

PATIENCE_S = 60
MB = 1 << 20
Mount = Callable[..., Path]


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> QuickBuild:
    return make_quick_build(tmp_path_factory.mktemp("order"))


@pytest.fixture(scope="module")
def older(order: QuickBuild, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of another type, to stand where a new one goes."""
    folder = tmp_path_factory.mktemp("older")
    QuickBuild(order.checkpoint, order.text, "Q4_0").run(folder / "work", folder / "bundle")
    return folder / "bundle"


def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("mounts a disk; test_all_of_this_where_the_user_is_root runs it in a namespace")


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """A disk in memory: mount(size_bytes, more options) gives its folder."""
    needs_root()
    mounted: list[Path] = []

    def tmpfs(size_bytes: int = 16 * MB, options: str = "rw") -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},{options}", "tmpfs", str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            cannot(f"root may not mount a disk here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield tmpfs
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def cannot(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def read_only(folder: Path) -> Path:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    return folder


@pytest.mark.skipif(os.geteuid() == 0, reason="the user is root, and the other tests run as they are")
def test_all_of_this_where_the_user_is_root() -> None:
    inside = ["unshare", "--user", "--map-root-user", "--mount"]
    tried = subprocess.run([*inside, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        cannot(f"neither root nor a namespace of one's own: {tried.stderr.strip()}")
    words = [*inside, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout.splitlines()[-1].replace("1 skipped", "")


def sentence_of(process: subprocess.Popen[str]) -> str:
    """What a failed command said, which must be one line; exit code 1."""
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, stderr
    assert stdout == ""
    said = [line for line in stderr.splitlines() if line.startswith("edgellm: ")]
    assert [*said] == stderr.splitlines()[-1:], stderr
    return said[0]


class Fills:
    """Fills the disk of `folder` at the first report of a piece of work, or as it begins."""

    def __init__(self, folder: Path, label: str, at_start: bool) -> None:
        self.filler, self.label, self.at_start = folder / "filler", label, at_start

    @contextmanager
    def work(self, label: str) -> Iterator[Report]:
        if label.startswith(self.label) and self.at_start:
            self.fill()
        yield lambda _done, _total: self.fill() if label.startswith(self.label) else None

    def note(self, text: str) -> None:
        pass

    def fill(self) -> None:
        if self.filler.exists():
            return
        with open(self.filler, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(bytes(4096))
            except OSError:
                return


def test_a_disk_that_is_too_small_is_said_before_anything_is_made(order: QuickBuild, mount: Mount) -> None:
    disk = mount(MB // 8)
    said = sentence_of(start(order.words(disk / "bundle"), disk / "work"))
    assert f"mounted at {disk}" in said
    assert "free some space" in said
    assert not (disk / "bundle").exists()
    assert list((disk / "work").iterdir()) == []


def test_a_disk_too_small_for_the_bundle_is_said_before_the_long_steps(
    order: QuickBuild, mount: Mount, tmp_path: Path
) -> None:
    disk = mount(MB // 32)
    with pytest.raises(NoSpace, match=f"the bundle {disk}/bundle needs .* mounted at {disk}"):
        order.run(tmp_path / "work", disk / "bundle")
    assert whole_steps(tmp_path / "work") == []
    assert list(disk.iterdir()) == []


def test_a_disk_with_room_for_the_base_but_not_for_what_is_made_of_it_is_said_before_the_base(
    order: QuickBuild, mount: Mount, tmp_path: Path
) -> None:
    base = convert(order.checkpoint, "F32", WorkFolder(tmp_path)).folder / "model.gguf"
    disk = mount(base.stat().st_size + 64 * 1024)
    with pytest.raises(NoSpace, match=r"the F32 artifact of .* with what is made of it needs"):
        order.run(disk / "work", disk / "bundle")
    assert whole_steps(disk / "work") == []


@pytest.mark.parametrize(
    ("label", "at_start", "kept"),
    [("convert", False, []), ("calibrate", True, STEPS[:1]), ("bundle", True, STEPS)],
)
def test_a_disk_that_becomes_full_costs_the_step_under_way_and_no_more(
    label: str, at_start: bool, kept: list[str], order: QuickBuild, older: Path, mount: Mount
) -> None:
    disk = mount()
    work, out = disk / "work", shutil.copytree(older, disk / "bundle")
    with pytest.raises(NoSpace, match=f"mounted at {disk}, became full while .* was written"):
        order.run(work, out, Fills(disk, label, at_start))
    assert sorted(p.name for p in disk.iterdir()) == ["bundle", "filler", "work"]
    assert [p.name.partition("-")[0] for p in sorted(work.iterdir())] == sorted(kept)
    assert (out / "model.gguf").read_bytes() == (older / "model.gguf").read_bytes()
    (disk / "filler").unlink()
    assert order.run(work, out).reused == kept
    with one_core():
        assert verify_bundle(out, None, WorkFolder(work)).passed


def test_a_disk_that_fills_under_llama_cpp_is_said_and_the_base_is_kept(mount: Mount, tmp_path: Path) -> None:
    """Slow to quantize, so that the disk fills long before the end."""
    disk = mount(48 * MB)
    work = WorkFolder(disk / "work")
    checkpoint = quick_checkpoint(tmp_path / "checkpoint", hidden=256, ffn=1024, heads=4, kv_heads=4, layers=6)
    base = convert(checkpoint, "F32", work)

    def make(progress: Fills | None = None) -> Path:
        return quantize(base.folder / "model.gguf", "base", None, "IQ4_NL", {}, work, 1, progress).folder

    with pytest.raises(NoSpace, match=f"{work.root}, mounted at {disk}, became full while the IQ4_NL file"):
        make(Fills(disk, "quantize", at_start=False))
    assert list(work.root.iterdir()) == [base.folder]
    (disk / "filler").unlink()
    assert (make() / "model.gguf").is_file()


def test_a_full_disk_is_one_sentence_of_the_command(order: QuickBuild, mount: Mount, tmp_path: Path) -> None:
    disk = mount(options="nr_inodes=4")  # bytes are free; the fourth file is refused
    said = sentence_of(start(order.words(tmp_path / "bundle"), disk / "work"))
    assert f"{disk}/work, mounted at {disk}, became full" in said
    assert not (tmp_path / "bundle").exists()


def test_a_read_only_output_is_said_before_the_work(order: QuickBuild, mount: Mount, tmp_path: Path) -> None:
    disk = read_only(mount())
    work = WorkFolder(tmp_path / "work")
    said = sentence_of(start(order.words(disk / "bundle"), work.root))
    assert f"the disk mounted at {disk} is read-only" in said
    assert "--out" in said
    with pytest.raises(NotWritable, match="is read-only"):
        write_imatrix(str(order.checkpoint), "shipped", disk / "imatrix.gguf", work)
    with pytest.raises(NotWritable, match="is read-only"):
        run_demo(disk / "demo")
    assert not work.root.exists()


def test_a_read_only_work_folder_is_said_and_still_serves_what_it_holds(
    order: QuickBuild, mount: Mount, tmp_path: Path
) -> None:
    disk = mount()
    order.run(disk / "work", tmp_path / "first")
    read_only(disk)
    assert order.run(disk / "work", tmp_path / "second").reused == STEPS
    other = QuickBuild(order.checkpoint, order.text, "Q4_0")
    said = sentence_of(start(other.words(tmp_path / "third"), disk / "work"))
    assert f"the disk mounted at {disk} is read-only" in said
    assert "EDGELLM_WORK" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["disk0", "first", "second"]


def test_a_read_only_checkpoint_is_all_that_is_needed(order: QuickBuild, mount: Mount, tmp_path: Path) -> None:
    disk = mount()
    shutil.copytree(order.checkpoint, disk / "checkpoint")
    read_only(disk)
    built = QuickBuild(disk / "checkpoint", order.text).run(tmp_path / "work", tmp_path / "bundle")
    assert built.verdict.passed


def test_a_place_where_a_disk_is_mounted_is_refused_before_the_work(
    order: QuickBuild, mount: Mount, tmp_path: Path
) -> None:
    disk = mount()
    with pytest.raises(UsageError, match="name a folder in it"):
        order.run(tmp_path / "work", disk)
    assert not (tmp_path / "work").exists()


@contextmanager
def stopped(words: list[str], work: Path, when: Callable[[], bool]) -> Iterator[subprocess.Popen[str]]:
    """The command, held still for the time of the block once it has come so far; goes on afterwards."""
    process = start(words, work)
    eventually(lambda: when() or process.poll() is not None, PATIENCE_S)
    process.send_signal(signal.SIGSTOP)
    try:
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        process.send_signal(signal.SIGCONT)


def test_a_second_process_on_the_same_bundle_is_told_at_once(order: QuickBuild, older: Path, tmp_path: Path) -> None:
    work, out = tmp_path / "work", shutil.copytree(older, tmp_path / "bundle")
    other = QuickBuild(order.checkpoint, order.text, "Q4_0")
    with stopped(order.words(out), work, (tmp_path / ".bundle.lock").exists) as first:
        said = sentence_of(start(other.words(out), tmp_path / "other-work"))
        assert f"another edgellm process is working on the bundle {out}" in said
        assert (out / "model.gguf").read_bytes() == (older / "model.gguf").read_bytes()
    assert first.wait(PATIENCE_S) == 0
    with one_core():
        verdict = verify_bundle(out, None, WorkFolder(work))
    assert verdict.passed
    assert (out / "model.gguf").read_bytes() != (older / "model.gguf").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "work"]
    first.communicate()


def test_a_second_process_on_the_same_step_is_told_at_once_and_later_reuses_it(
    order: QuickBuild, tmp_path: Path
) -> None:
    work, other = tmp_path / "work", QuickBuild(order.checkpoint, order.text, "Q4_0")
    with stopped(order.words(tmp_path / "a"), work, lambda: any(work.glob(".calibrate-*.lock"))) as first:
        with pytest.raises(Busy, match=f"working on the step calibrate-.* in {work}"):
            other.run(work, tmp_path / "b")
        assert not (tmp_path / "b").exists()
    assert first.wait(PATIENCE_S) == 0
    first.communicate()
    assert other.run(work, tmp_path / "b").reused == ["convert", "calibrate"]


def test_two_types_at_once_in_one_work_folder_both_finish(order: QuickBuild, older: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    shutil.copytree(older.parent / "work", work, ignore=shutil.ignore_patterns("quantize-*"))
    types = ("Q8_0", "Q5_0")
    both = [start(QuickBuild(order.checkpoint, order.text, t).words(tmp_path / t), work) for t in types]
    assert [p.communicate(timeout=PATIENCE_S) and p.returncode for p in both] == [0, 0]
    assert len(list(work.glob("quantize-*"))) == 2


@pytest.mark.parametrize("name", ["thesis.txt", "tokenizer/notes.md"])
def test_a_bundle_with_a_file_of_the_user_s_in_it_is_not_replaced(name: str, older: Path, tmp_path: Path) -> None:
    out = shutil.copytree(older, tmp_path / "bundle")
    (out / name).write_text("mine")
    with pytest.raises(UsageError, match=f"{name}, which is no part of its bundle"), claim(out):
        pass
    assert (out / name).read_text() == "mine"


def test_what_is_read_for_the_work_is_not_replaced_by_it(older: Path, order: QuickBuild, tmp_path: Path) -> None:
    out = shutil.copytree(older, tmp_path / "bundle")
    before = (out / "model.gguf").read_bytes()
    work = WorkFolder(tmp_path / "work")
    refused: list[Callable[[], object]] = [
        lambda: QuickBuild(out / "model.gguf", order.text).run(work.root, out),
        lambda: write_imatrix(str(out / "model.gguf"), "shipped", out / "model.gguf", work),
        lambda: write_imatrix(str(order.checkpoint), str(out / "model.gguf"), out / "model.gguf", work),
    ]
    for call in refused:
        with pytest.raises(EdgellmError, match="is read for"):
            call()
    assert (out / "model.gguf").read_bytes() == before
