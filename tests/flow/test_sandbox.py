"""Hostile programs: whatever an answer's code does, the one that runs it comes back whole, with the right verdict."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import edgellm
from edgellm.evals.confinement.watch import tasks_of_user
from edgellm.evals.sandbox import Limits, run_python
from sandboxes import needs_sandbox

MIB = 1 << 20
QUICK = Limits(seconds=2, memory_bytes=256 * MIB, tmp_bytes=8 * MIB, file_bytes=4 * MIB)
AT_ONCE = Limits(seconds=0.5, memory_bytes=256 * MIB)
pytestmark = needs_sandbox


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """After each test no process is left below this one, and the handles are those of before."""
    before, handles = {child.pid for child in psutil.Process().children(True)}, len(os.listdir("/proc/self/fd"))
    yield
    until = time.monotonic() + 5
    while (left := {child.pid for child in psutil.Process().children(True)} - before) and time.monotonic() < until:
        time.sleep(0.02)
    assert not left
    assert len(os.listdir("/proc/self/fd")) <= handles


def said(source: str, limits: Limits = QUICK) -> str:
    """What a program prints that ends by itself."""
    ran = run_python(source, limits)
    assert (ran.exit_code, ran.killed_by) == (0, ""), ran
    return ran.stdout.strip()


def attempt(statement: str) -> str:
    """A program that prints `refused` where `statement` raises OSError, and `done` where it does not."""
    return f"import os, socket, shutil\ntry:\n    {statement}\n    print('done')\nexcept OSError:\n    print('refused')"


def test_a_harmless_program_runs_with_the_standard_library() -> None:
    source = "import json, decimal, ctypes, sqlite3, ssl\nprint(json.dumps({'値': str(decimal.Decimal('0.1'))}))"
    assert json.loads(said(source)) == {"値": "0.1"}


def test_exit_code_and_streams_are_told_apart() -> None:
    ran = run_python("import sys\nprint('a')\nprint('b', file=sys.stderr)\nsys.exit(3)", QUICK)
    assert (ran.exit_code, ran.stdout, ran.stderr, ran.timed_out) == (3, "a\n", "b\n", False)


def test_an_endless_loop_is_ended() -> None:
    ran = run_python("while True: pass", AT_ONCE)
    assert (ran.timed_out, ran.killed_by, ran.exit_code) == (True, "time", None)


def test_a_program_that_closes_its_streams_and_sleeps_is_ended() -> None:
    assert run_python("import os, time\nos.close(1); os.close(2)\ntime.sleep(60)", AT_ONCE).timed_out


def test_processor_time_is_limited_too() -> None:
    limits = Limits(seconds=20, cpu_seconds=1)
    assert run_python("while True: pass", limits).killed_by == "cpu"


def test_a_fork_bomb_ends() -> None:
    source = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
    ran = run_python(source, AT_ONCE)
    assert ran.killed_by in ("time", "processes")


def test_a_fork_bomb_never_has_more_processes_than_it_may() -> None:
    source = (
        "import os, time\nn = 0\ntry:\n    while True:\n        if os.fork() == 0:\n            time.sleep(9)\n"
        "        n += 1\nexcept OSError:\n    print(n, flush=True)"
    )
    ran = run_python(source, Limits(seconds=2, processes=8))
    assert ran.stdout.strip() == "7"


def test_a_fork_bomb_ends_where_the_kernel_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root in a namespace of its own, whom the kernel does not limit: then the watch outside counts."""
    monkeypatch.setattr("edgellm.evals.sandbox.fresh_identity", lambda: None)
    source = "import os, time\nwhile True:\n    os.fork()\n    time.sleep(0.1)"  # slowly: this machine has other work
    assert run_python(source, Limits(seconds=10)).killed_by == "processes"


def test_where_a_user_is_counted_as_a_whole_the_limit_is_above_what_there_is() -> None:
    own = len(os.listdir("/proc/self/task"))
    assert own <= tasks_of_user() < 100_000


def test_ten_gigabytes_are_not_had() -> None:
    source = "try:\n    x = bytearray(10 << 30)\nexcept MemoryError:\n    print('no')"
    assert said(source) == "no"


def test_memory_of_many_processes_is_limited_in_sum() -> None:
    source = (
        "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        x = b'x' * (100 << 20)\n"
        "        time.sleep(30)\ntime.sleep(30)"
    )
    assert run_python(source, Limits(seconds=20, memory_bytes=256 * MIB)).killed_by == "memory"


def test_memory_returns_to_the_machine() -> None:
    """Three programs of 400 MiB. Other programs run here too, so not every byte is counted."""
    before = psutil.virtual_memory().available
    for _ in range(3):
        said("open('/tmp/x', 'wb').write(bytes(15 << 20))\nx = b'x' * (400 << 20)", Limits())
    until = time.monotonic() + 5
    while (lost := before - psutil.virtual_memory().available) > 900 * MIB and time.monotonic() < until:
        time.sleep(0.05)
    assert lost < 900 * MIB


def test_endless_output_is_ended_and_cut() -> None:
    ran = run_python("while True: print('x' * 10000)", Limits(seconds=10, output_bytes=1000))
    assert (ran.killed_by, len(ran.stdout)) == ("output", 1000)


def test_endless_output_on_stderr_is_ended_too() -> None:
    source = "import sys\nwhile True: sys.stderr.write('x' * 10000)"
    ran = run_python(source, Limits(seconds=10, output_bytes=1000))
    assert (ran.killed_by, len(ran.stderr)) == ("output", 1000)


def test_output_that_is_no_text_is_taken() -> None:
    assert run_python("import sys\nsys.stdout.buffer.write(bytes(range(256)))", QUICK).exit_code == 0


def test_only_one_folder_can_be_written(tmp_path: Path) -> None:
    own = Path(__file__)
    for place in ("/x", "/usr/x", "/etc/x", "/dev/x", "/dev/shm/x", str(tmp_path / "x"), f"{own}", "/proc/x"):
        assert said(attempt(f"open({place!r}, 'w')")) == "refused", place
    assert said(attempt("open('/tmp/x', 'w')")) == "done"
    assert not Path("/tmp/x").exists()
    assert not (tmp_path / "x").exists()


def test_the_folder_is_small() -> None:
    source = (
        "try:\n    for n in range(100):\n        open(f'/tmp/{n}', 'wb').write(bytes(1 << 20))\n"
        "except OSError as error:\n    print(n, error.errno)"
    )
    assert said(source) == "8 28"


def test_a_single_file_is_small() -> None:
    source = "try:\n    open('/tmp/x', 'wb').write(bytes(6 << 20))\nexcept OSError as error:\n    print(error.errno)"
    assert said(source) in ("27", "")  # a write that goes in part is no error of Python's
    assert int(said(f"{source}\nimport os\nprint(os.path.getsize('/tmp/x'))").split()[-1]) <= 4 * MIB


def test_a_bomb_of_empty_files_is_ended() -> None:
    source = "n = 0\nwhile True:\n    open(f'/tmp/{n}', 'w').close()\n    n += 1"
    assert run_python(source, Limits(seconds=20)).killed_by == "files"


def test_a_zip_bomb_is_stopped_by_the_limits() -> None:
    source = (
        "import zlib\npacked = zlib.compressobj(1)\nparts = [packed.compress(bytes(1 << 20)) for _ in range(300)]\n"
        "parts.append(packed.flush())\ntry:\n    zlib.decompress(b''.join(parts))\n    print('done')\n"
        "except MemoryError:\n    print('no')"
    )
    assert said(source, Limits(seconds=20, memory_bytes=256 * MIB)) == "no"


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/hostname", "/proc/self/environ", "/proc/1/cmdline", "/sys"])
def test_files_of_the_host_are_not_there(path: str) -> None:
    assert said(f"import os\nprint(os.path.exists({path!r}))") == "False"


def test_home_and_working_folder_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    for path in (Path.cwd() / "pyproject.toml", tmp_path / "secret", Path(__file__), Path.home() / ".bashrc"):
        assert said(f"import os\nprint(os.path.exists({str(path)!r}))") == "False", path


def test_installed_packages_are_not_there() -> None:
    source = (
        "import importlib.util, os, sys\n"
        "print([n for n in ('numpy', 'edgellm', 'pip') if importlib.util.find_spec(n)],"
        " [os.listdir(f'{p}/site-packages') for p in sys.path if os.path.isdir(f'{p}/site-packages')])"
    )
    assert said(source) in ("[] []", "[] [[]]")


def test_a_server_of_this_machine_cannot_be_reached() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert said(attempt(f"socket.create_connection(('127.0.0.1', {port}), 1)")) == "refused"


def test_an_abstract_socket_of_this_machine_cannot_be_reached() -> None:
    name = f"\0edgellm-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        with socket.socket(socket.AF_UNIX) as here:
            here.connect(name)  # it is there
        assert said(attempt(f"socket.socket(socket.AF_UNIX).connect({name!r})")) == "refused"


@pytest.mark.parametrize("family", [16, 17, 38, 40])  # netlink, packet, crypto, virtual machines
def test_other_kinds_of_sockets_are_not_made(family: int) -> None:
    assert said(attempt(f"socket.socket({family}, 3)")) == "refused"


def test_names_are_not_looked_up() -> None:
    assert said(attempt("socket.getaddrinfo('example.com', 80)")) == "refused"


def test_variables_of_this_process_are_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELLM_API_KEY", "very-secret")
    assert "very-secret" not in said("import os\nprint(dict(os.environ))")


def test_no_handle_of_this_process_is_left_open() -> None:
    with open(__file__, "rb") as ours:
        os.set_inheritable(ours.fileno(), True)
        source = "import os\nfound = []\nfor n in range(256):\n    try:\n        os.fstat(n)\n        found.append(n)\n"
        assert said(f"{source}    except OSError:\n        pass\nprint(found)") == "[0, 1, 2]"


def test_processes_outside_are_not_seen_and_get_no_signal() -> None:
    source = (
        "import os, signal\nrefused = 0\nfor pid in [*range(3, 3000), " + str(os.getpid()) + "]:\n    try:\n"
        "        if pid != os.getpid():\n            os.kill(pid, signal.SIGKILL)\n    except ProcessLookupError:\n"
        "        refused += 1\nprint(os.getpid() < 10, refused)"
    )
    got = threading.Event()
    assert not got.is_set()
    assert said(source).startswith("True 299")


def test_the_first_process_of_the_sandbox_cannot_be_ended_from_inside() -> None:
    source = "import os, signal\nfor n in (signal.SIGKILL, signal.SIGTERM):\n    try:\n        os.kill(1, n)\n"
    assert said(f"{source}    except OSError:\n        pass\nprint('here')") == "here"


def test_what_it_started_ends_with_it() -> None:
    marker = "seconds-of-a-test-4242"
    source = (
        f"import os, sys, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        f"        os.execv('/usr/bin/env', ['env', '-i', '{marker}=1', 'sleep', '600'])\n    os._exit(0)\n"
        "time.sleep(0.2)\nprint('ended')"
    )
    assert "ended" in run_python(source, QUICK).stdout
    assert not [one for one in psutil.process_iter(["cmdline"]) if marker in " ".join(one.info["cmdline"] or [])]


def test_deep_recursion_ends_the_program_only() -> None:
    source = (
        "import sys, threading\nsys.setrecursionlimit(10**8)\ndef f(n):\n    return [f(n + 1)]\n"
        "import re\nrepr_of = []\nrepr_of.append(repr_of)\nf(0)"
    )
    assert run_python(source, AT_ONCE).exit_code != 0
    assert said("print('well')") == "well"


def test_rights_cannot_be_had_again() -> None:
    assert said(attempt("os.setuid(0)")) == "refused"
    calls = {"unshare": (272, 97), "mount": (165, 40), "memfd_create": (319, 279), "shmget": (29, 194)}
    column = 0 if os.uname().machine == "x86_64" else 1
    for name, numbers in calls.items():
        source = (
            "import ctypes\nlibrary = ctypes.CDLL(None, use_errno=True)\n"
            f"print(library.syscall({numbers[column]}, 0x10000000, 4096, 0o1600, 0, 0), ctypes.get_errno())"
        )
        assert said(source) == "-1 1", name


def test_programs_with_more_rights_give_none() -> None:
    assert said("import os\nprint(os.popen('/usr/bin/id -u 2>&1').read().strip() == str(os.getuid()) != '0')") == "True"


def test_an_ordinary_user_is_confined_too(tmp_path: Path) -> None:
    """The same as somebody else, with the system's Python: in a user namespace instead of as a user of its own."""
    python = "/usr/bin/python3"
    if os.geteuid() != 0 or not Path(python).exists():
        pytest.skip("this is for root, who can become somebody else")
    source = Path(edgellm.__file__).parents[1]
    sources = (
        "import os\nprint(os.path.exists('/etc/passwd'), len(os.listdir('/tmp')))\n"
        "for place in ('/x', '/dev/x', '/root/x', '/usr/x', '/tmp/x'):\n    try:\n        open(place, 'w')\n"
        "        print(place)\n    except OSError:\n        pass",
        "import os\nwhile True: os.fork()",
        "import socket\nsocket.create_connection(('127.0.0.1', 9), 1)",
    )
    program = (
        "from edgellm.evals.sandbox import Limits, run_python\n"
        f"a, b, c = [run_python(one, Limits(seconds=5, processes=4)) for one in {sources!r}]\n"
        "print(a.stdout.strip(), b.killed_by or b.exit_code, 'Error' in c.stderr)"
    )
    if subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False).returncode:
        pytest.skip("the system's Python is too old")
    ran = subprocess.run(
        [python, "-c", program], user=65534, group=65534, extra_groups=[], cwd="/", capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() in (["False", "0", "/tmp/x", ended, "True"] for ended in ("1", "processes"))
