"""What `make` says on a machine that lacks something: one sentence with the command that brings it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "check_machine.sh"


def checked(folder: Path, *programs: str) -> subprocess.CompletedProcess[str]:
    """Run the check with nothing on the path but these programs."""
    for name in programs:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"needs {name} to take the other programs away")
        (folder / name).symlink_to(found)
    (folder / "python3").symlink_to(sys.executable)
    shell = shutil.which("sh")
    assert shell
    return subprocess.run(
        [shell, str(SCRIPT), "python3"], env={"PATH": str(folder)}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("programs", "part"), [((), "no C++ compiler"), (("g++",), "no cmake")], ids=["no compiler", "no cmake"]
)
def test_a_missing_tool_is_one_sentence_with_its_command(tmp_path: Path, programs: tuple[str, ...], part: str) -> None:
    done = checked(tmp_path, *programs)
    assert done.returncode == 1
    assert part in done.stderr
    assert "apt-get install" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_machine_with_everything_is_fine(tmp_path: Path) -> None:
    done = checked(tmp_path, "g++", "cmake")
    assert (done.returncode, done.stderr) == (0, "")
