"""The command line of bubblewrap for one program, and who the program is inside."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from edgellm.errors import SandboxMissing

HERE = Path(__file__).parent
INSTALL = "install it (on Debian and Ubuntu: apt install bubblewrap)"
# glibc's loader, and what every Python opens.
_OPENED = ("/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_MERGED = ("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin")
# Beside Python's own library those of its standard modules, where its maker ships them along.
_LIBRARIES = ("libpython", "libffi", "libz", "libcrypto", "libssl", "libsqlite3", "liblzma", "libbz2", "libexpat")
_LAST_OWN = 60_000  # below lie the users that systems give to people and services


def bubblewrap() -> str:
    """Where `bwrap` is; raises SandboxMissing."""
    if sys.platform != "linux":
        raise SandboxMissing("code of answers is run under bubblewrap, which there is on Linux only; evaluate there")
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxMissing(f"code of answers is run under bubblewrap, and there is no `bwrap` here; {INSTALL}")
    return found


@cache
def has_size(program: str) -> bool:
    """Whether this bubblewrap (0.7 and later) can limit a tmpfs; without that nothing is writable inside."""
    import subprocess

    said = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    return "--size" in said.stdout + said.stderr


def fresh_identity() -> int | None:
    """For root: a user number that nobody has; None where one cannot be taken, and a user namespace is made instead.

    A process of root is never bound by a limit of processes, so the program must be somebody else.
    """
    if os.geteuid() != 0:
        return None
    rows = [[int(word) for word in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()]
    end = max(inside + count for inside, _, count in rows)
    return end - 2 - secrets.randbelow(min(1 << 30, end - _LAST_OWN)) if end > _LAST_OWN + 100 else None


def counts_by_namespace() -> bool:
    """Whether the kernel counts a user's processes for each user namespace apart, as it does from 5.14 on."""
    version = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2] if part.isdigit())
    return version >= (5, 14)


def interpreter() -> tuple[Path, Sequence[Path]]:
    """The Python behind this one, which may be a virtual environment's, and what of it must be seen inside."""
    program = Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()
    libraries = Path(sys.base_prefix) / sys.platlibdir
    needed = [program, *sorted(path for name in _LIBRARIES for path in libraries.glob(f"{name}*.so*"))]
    standard = {Path(sysconfig.get_path(kind, vars=_base())) for kind in ("stdlib", "platstdlib")}
    return program, [path for path in [*needed, *sorted(standard)] if not path.is_relative_to("/usr") and path.exists()]


def _base() -> dict[str, str]:
    return {
        "base": sys.base_prefix, "platbase": sys.base_exec_prefix,
        "installed_base": sys.base_prefix, "installed_platbase": sys.base_exec_prefix,
    }  # fmt: skip


def command(identity: int | None, tmp_bytes: int, filter_fd: int | None, control_fd: int) -> list[str]:
    """bubblewrap and the interpreter: no network, nothing of the host but /usr and the standard library, one small
    folder in memory to write to.

    There is no /proc inside: nothing needs it, and it shows the host's paths.
    """
    program, needed = interpreter()
    wrap = bubblewrap()
    if identity is None:
        line = [wrap, "--unshare-all", "--cap-drop", "ALL"]
    else:  # as root, without a user namespace, so that there is another user to become
        line = [wrap, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        line += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    line += ["--die-with-parent", "--new-session", "--hostname", "sandbox", "--ro-bind", "/usr", "/usr"]
    for path in _MERGED:
        if os.path.islink(path):
            line += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            line += ["--ro-bind", path, path]
    for path in _OPENED:
        line += ["--dev-bind-try" if path.startswith("/dev") else "--ro-bind-try", path, path]
    # Made first and readable by all: bubblewrap would give them the host's rights, and a home is closed to others.
    for above in sorted({parent for path in needed for parent in path.parents if parent != Path("/")}):
        line += ["--dir", str(above)]
    for needed_path in needed:
        line += ["--ro-bind", str(needed_path), str(needed_path)]
        if (needed_path / "site-packages").is_dir():
            line += ["--tmpfs", f"{needed_path}/site-packages", "--remount-ro", f"{needed_path}/site-packages"]
    line += ["--size", str(tmp_bytes), "--tmpfs", "/tmp"] if has_size(wrap) else ["--dir", "/tmp"]
    line += ["--remount-ro", "/", "--chdir", "/tmp"]
    if filter_fd is not None:
        line += ["--seccomp", str(filter_fd)]
    text = (HERE / "child.py").read_text(encoding="utf-8")
    return [*line, "--", str(program), "-I", "-S", "-B", "-u", "-X", "utf8", "-c", text, str(control_fd)]
