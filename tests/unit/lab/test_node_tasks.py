"""What runs on a node of a Ray cluster, here in this process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgellm.lab import node_tasks


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "weights").write_bytes(os.urandom(2500))
    (folder / "empty").write_bytes(b"")
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): f"sha256:{hashlib.sha256(p.read_bytes()).hexdigest()}"
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_files_that_the_node_does_not_see_arrive_in_blocks(source: Path, tmp_path: Path) -> None:
    files = digests(source)
    folder, missing = node_tasks.look(str(tmp_path), "bundles/x", files, "/nowhere")
    assert missing == list(files)
    for name, sha256 in files.items():
        data, aside = (source / name).read_bytes(), f"{folder}/{name}.aside"
        for offset in range(0, max(len(data), 1), 1000):
            node_tasks.write_block(aside, offset, data[offset : offset + 1000])
        assert node_tasks.finish_file(aside, f"{folder}/{name}", sha256)
    assert node_tasks.look(str(tmp_path), "bundles/x", files, "/nowhere") == (folder, [])
    assert digests(Path(folder)) == files


def test_a_block_that_changed_on_the_way_is_found_and_removed(source: Path, tmp_path: Path) -> None:
    aside, place = tmp_path / "there" / "aside", tmp_path / "there" / "weights"
    node_tasks.write_block(str(aside), 0, b"something else")
    assert not node_tasks.finish_file(str(aside), str(place), digests(source)["sub/weights"])
    assert not aside.exists()
    assert not place.exists()


def test_files_that_the_node_sees_are_used_where_they_are(source: Path, tmp_path: Path) -> None:
    assert node_tasks.look(str(tmp_path), "bundles/x", digests(source), str(source)) == (str(source), [])


def test_a_file_of_the_same_name_with_other_contents_is_not_used(source: Path, tmp_path: Path) -> None:
    files = digests(source)
    (source / "empty").write_bytes(b"not empty")
    folder, missing = node_tasks.look(str(tmp_path), "bundles/x", files, str(source))
    assert folder != str(source)
    assert missing == list(files)


def test_a_command_gives_its_code_and_what_it_wrote() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    assert node_tasks.run_command([sys.executable, "-c", code], 100) == (3, b"out\n", b"err\n")
    assert node_tasks.run_command([sys.executable, "-c", code], 2) == (3, b"ou", b"er")


def test_the_thread_count_that_ray_sets_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    code = "import os; print(os.environ.get('OMP_NUM_THREADS'))"
    assert node_tasks.run_command([sys.executable, "-c", code], 100)[1] == b"None\n"


def test_nodes_need_nothing_of_edgellm_but_the_command() -> None:
    code = f"import sys; sys.path.clear(); sys.path[:] = {[p for p in sys.path if 'site-packages' not in p]!r}\n"
    code += f"exec(open({node_tasks.__file__!r}).read())\nassert 'edgellm' not in sys.modules\n"
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
