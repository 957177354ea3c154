"""What runs first inside the sandbox: takes its job, gives up its rights, sets its limits, and runs the program.

Its text is handed to the sandbox's interpreter with `-c`, so it uses the standard library and nothing of this package.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import sys
import types
from collections.abc import Mapping
from typing import Any

PROGRAM = "<program>"


def whole(control: socket.socket) -> bytes:
    """Eight bytes of length, then the job."""
    parts = control.makefile("rb")
    return parts.read(int.from_bytes(parts.read(8), "big"))


def give_up_rights(identity: int | None) -> None:
    """Become a user that nobody else is, where this began as root."""
    if identity is not None:
        with contextlib.suppress(OSError):  # where there is no room to write, it is read-only
            os.chmod("/tmp", 0o1777)
        os.setgroups([])
        os.setresgid(identity, identity, identity)
        os.setresuid(identity, identity, identity)


def set_limits(limits: Mapping[str, Any]) -> None:
    """`limits`: bytes, seconds and counts, as `Limits` names them."""
    for kind, most in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    # The first is told with a signal that says why.
    resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_seconds"], limits["cpu_seconds"] + 1))


def with_modules(texts: Mapping[str, str]) -> None:
    """Make modules of their texts, so that a program of several files runs where no file is."""
    for name, text in texts.items():
        for stop in [i for i, letter in enumerate(name) if letter == "."]:
            package = sys.modules.setdefault(name[:stop], types.ModuleType(name[:stop]))
            package.__path__ = []
        module = sys.modules[name] = types.ModuleType(name)
        exec(compile(text, name, "exec"), module.__dict__)


def main() -> None:
    control_number = int(sys.argv[1])
    control = socket.socket(fileno=control_number)
    job = json.loads(whole(control))
    give_up_rights(job["identity"])
    # The outside watches how much is in the folder by this handle.
    folder = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY)
    socket.send_fds(control, [b"ready"], [folder])
    os.close(folder)
    control.close()
    kept = {0, 1, 2, job["channel"]}
    for number in range(3, 1024):
        if number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)
    set_limits(job["limits"])
    sys.argv[:] = [PROGRAM]
    sys.set_int_max_str_digits(0)
    with_modules(job["modules"])
    main_module = types.ModuleType("__main__")
    main_module.__dict__.update(given=job["given"], channel=job["channel"])
    sys.modules["__main__"] = main_module
    exec(compile(job["source"], PROGRAM, "exec"), main_module.__dict__)


if __name__ == "__main__":
    main()
